//! What is special about one photo or how it was measured.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::vocabulary::vocabulary;

/// Something that makes the whole answer less certain than it could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    pub code: WarningCode,
    /// The same in words, with the figures of this photo.
    pub message: String,
}

impl Warning {
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

vocabulary! {
    /// Stable reason of a warning.
    WarningCode {
        TiltUnknown = "tilt_unknown":
            "No pitch or gravity came with the photo. Where `camera.tilt_source` is `nadir_assumed` the photo does not show the tilt either.",
            "Send `pitch_deg` or `gravity`.";
        TiltByDepth = "tilt_by_depth":
            "No pitch came and nothing round was seen: the tilt is read off the depth.",
            "Send `pitch_deg` or `gravity`.";
        RollIgnored = "roll_ignored":
            "`roll_deg` came without `pitch_deg` and says nothing.",
            "Send both, or `gravity`.";
        MakerNoteGravityImplausible = "makernote_gravity_implausible":
            "The gravity vector in the photo points upward or is null; it was ignored.",
            "Send `pitch_deg` or `gravity`.";
        PitchContradictsMakerNote = "pitch_contradicts_makernote":
            "The stated tilt and the gravity in the photo differ by over 12 degrees; the stated one was used.",
            "Check how the app reads its sensor, and when: at the shutter, not later.";
        GravitySideways = "gravity_sideways":
            "Gravity lies over 45 degrees off the photo's vertical.",
            "Check the EXIF orientation and the axes of `gravity`.";
        PitchInconsistent = "pitch_inconsistent":
            "The stated pitch does not fit the plate or the table in the photo.",
            "Check how the app reads its sensor; 0 is straight down.";
        Nadir = "nadir":
            "Seen from straight above, heights are uncertain.",
            "Ask for a photo from 20 to 45 degrees.";
        FovDefault = "fov_default":
            "No focal length is known; a phone's main camera is assumed.",
            "Send the photo with its EXIF data, or `camera.f35_mm`.";
        CameraHintsDisagree = "camera_hints_disagree":
            "Two of the camera fields of the request contradict each other; the first was used.",
            "Send one of them.";
        FovSideSwapped = "fov_side_swapped":
            "`camera.fov_long_deg` fits the photo only as the field of view of its short side, and was used so.",
            "Send the field of view of the long side.";
        FovContradictsExif = "fov_contradicts_exif":
            "The request and the photo's EXIF data give different focal lengths; the request was used.",
            "Leave the camera fields out for photos with EXIF data.";
        DigitalZoomApplied = "digital_zoom_applied":
            "EXIF tells of a digital zoom that was not in the focal length; it was multiplied in.",
            "Take the photo without digital zoom.";
        DigitalZoomAssumed = "digital_zoom_assumed":
            "EXIF tells of a digital zoom; it is taken to be in the focal length already.",
            "Take the photo without digital zoom.";
        UltraWide = "ultra_wide":
            "An ultra-wide lens bends the photo at its edges.",
            "Take the photo with the main camera.";
        ExifFocalImplausible = "exif_focal_implausible":
            "The focal length in EXIF cannot be and was ignored.",
            "Send `camera.f35_mm` or `camera.fov_long_deg`.";
        PhotoCropped = "photo_cropped":
            "The photo was cropped after it was taken, so its field of view is uncertain.",
            "Send the photo as it was taken.";
        IccInvalid = "icc_invalid":
            "The photo's colour profile cannot be read; sRGB is assumed.",
            "Nothing, if the colours look right.";
        IccIgnored = "icc_ignored":
            "The photo's colour profile is for another kind of picture; sRGB is assumed.",
            "Nothing, if the colours look right.";
        CmykConverted = "cmyk_converted":
            "The photo has print colours, converted without a profile.",
            "Send the photo as the camera wrote it.";
        AlphaDropped = "alpha_dropped":
            "The photo's transparency was dropped.",
            "Send the photo as the camera wrote it.";
        GreyPhoto = "grey_photo":
            "The photo has no colour; food is harder to tell apart.",
            "Send a colour photo.";
        NotIdentified = "not_identified":
            "Nothing could be named: volumes are given, labels are `unknown`.",
            "Let the user choose the labels, or send them as `hints`.";
        PartlyIdentified = "partly_identified":
            "Some regions could not be named and were left out.",
            "Let the user add what is missing with a point in `hints`.";
        BoxesRescaled = "boxes_rescaled":
            "The vision API gave boxes on another grid than the picture's pixels, such as thousandths of its sides; they were mapped.",
            "Nothing, if the masks look right.";
        NothingGrounded = "nothing_grounded":
            "The vision-language model named no item with a box.",
            "Let the user mark the food with a point in `hints`.";
        PhotoLeftOut = "photo_left_out":
            "One of several photos could not be measured or shows another meal; `photos[].error` says why.",
            "Nothing, if the other photos show the whole meal.";
        PhotosDisagree = "photos_disagree":
            "Two photos give volumes of one item, or names, that their own errors do not explain; the interval is wider.",
            "Show the amount for confirmation first.";
        DepthMapIgnored = "depth_map_ignored":
            "The request's depth map cannot be of this scene; the depth network was used.",
            "Check unit, orientation and format of `depth`.";
        DepthMapSparse = "depth_map_sparse":
            "The request's depth map says nothing of a large part of the photo.",
            "Hold the phone still and 25 cm to a metre from the meal; lower `confidence.least`.";
        FlatRegionIgnored = "flat_region_ignored":
            "Regions that look like food but lie flat on the table were left out.",
            "Let the user add what is missing with a point in `hints`.";
        Implausible = "implausible":
            "An item was measured larger than anything on a dish can be, so it has no numbers: it is left out, and the totals lack it.",
            "Let the user tell the amount; check the pitch and the scale, or take the photo again.";
        TableCluttered = "table_cluttered":
            "Less than half of what should be the table lies in one plane.",
            "Clear the table around the plate, or photograph from closer.";
        PlaneFitPoor = "plane_fit_poor":
            "The depth of the table does not follow a plane well.",
            "Show more of the table in the next photo.";
        ScalePrior = "scale_prior":
            "Nothing of known size was seen: the scale is a guess from usual plates and heights.",
            "Send a plate's diameter, or lay a bank card on the table.";
        CameraHeightOdd = "camera_height_odd":
            "The camera seems to be under 15 or over 90 cm away.",
            "Check the diameter that was sent.";
        PlateSizeOdd = "plate_size_odd":
            "The plate would be under 12 or over 35 cm wide.",
            "Check the diameter or the height that was sent.";
        MealImplausible = "meal_implausible":
            "More energy than one meal holds.",
            "Check the scale and the items before they are saved.";
        TinyModels = "tiny_models":
            "Measured with a checkpoint set that is for trying the service out, such as the bundled `plate-tiny`.",
            "Use a published checkpoint set for real meals.";
        UncalibratedModels = "uncalibrated_models":
            "The checkpoint set came without a `calibration.toml`: how far its networks are off is assumed, and the intervals with it.",
            "The operator should measure the set once with `dragunov eval --calibrate`.";
        FoodTableStale = "food_table_stale":
            "The food database does not answer; the last table that was read is used.",
            "Nothing for one scan; the operator should look at the database.";
        PictureNotStored = "picture_not_stored":
            "A picture could not be put into the bucket and is in the answer as base64.",
            "Read it from the answer; the operator should look at the bucket.";
        StubEngine = "stub_engine":
            "Made up by the test engine; nothing on the photo was measured.",
            "Never show these numbers to a user.";
    }
}
