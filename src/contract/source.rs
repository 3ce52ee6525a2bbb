//! Where a number of the answer comes from.

use super::vocabulary::vocabulary;

vocabulary! {
    /// What decided the tilt of the camera. Several in a list worked together.
    TiltSource {
        Gravity = "gravity":
            "Gravity that came with the photo; `camera.gravity_source` says from where.",
            "Nothing: this is the best source.";
        Circle = "circle":
            "The ellipse that a round plate or coin makes in the photo.",
            "Nothing. Send `pitch_deg` or `gravity` with the next photo for a narrower interval.";
        Depth = "depth":
            "The slope of the table in the depth network's output.",
            "Alone it is off by several degrees: send `pitch_deg` or `gravity` with the next photo.";
        NadirAssumed = "nadir_assumed":
            "Nothing showed the tilt, so the camera is taken to look straight down.",
            "Send `pitch_deg` or `gravity`, or let a round plate be in the photo. Until then treat the volumes as rough.";
    }
}

vocabulary! {
    /// Who said which way is down, most trusted first.
    GravitySource {
        ClientGravity = "client_gravity":
            "`gravity` of the request.",
            "Nothing.";
        ClientPitch = "client_pitch":
            "`pitch_deg` (and `roll_deg`) of the request.",
            "Nothing. `gravity` is better where the app has it: it holds the roll as well.";
        ClientPose = "client_pose":
            "`camera.pose` of the request.",
            "Nothing.";
        S3Gravity = "s3_gravity":
            "The S3 object's metadata `x-amz-meta-gravity`.",
            "Nothing.";
        S3Pitch = "s3_pitch":
            "The S3 object's metadata `x-amz-meta-pitch` (and `-roll`).",
            "Nothing.";
        MakerNote = "makernote":
            "The gravity vector that an iPhone writes into the photo.",
            "Nothing, as long as the photo is sent unchanged.";
    }
}

vocabulary! {
    /// Where the focal length comes from, most trusted first.
    FovSource {
        ClientFocal = "client_focal":
            "`camera.focal_px` of the request.",
            "Nothing.";
        ClientF35 = "client_f35":
            "`camera.f35_mm` of the request.",
            "Nothing.";
        ClientFov = "client_fov":
            "`camera.fov_long_deg` of the request.",
            "Nothing.";
        ClientDepth = "client_depth":
            "`depth.intrinsics` of the request.",
            "Nothing.";
        ExifF35 = "exif_f35":
            "The 35 mm equivalent focal length in the photo's EXIF data.",
            "Nothing.";
        SensorTable = "exif_sensor_table":
            "The focal length in EXIF and the sensor size of that phone, from a table.",
            "Nothing.";
        FocalPlane = "exif_focal_plane":
            "The focal length and the sensor resolution in EXIF.",
            "Nothing.";
        Default = "default":
            "Nothing says: a phone's main camera is assumed, 67 degrees on the long side.",
            "Send the photo with its EXIF data, or one of `camera.focal_px`, `camera.f35_mm`, `camera.fov_long_deg`.";
    }
}

vocabulary! {
    /// What told the height of the camera above the table, which is the scale of the whole photo.
    ScaleSource {
        ClientHeight = "client_height":
            "`camera.height_cm` of the request, or the height that `camera.pose` gives.",
            "Nothing.";
        ClientDepth = "client_depth":
            "The distances of the request's depth map.",
            "Nothing.";
        PlateKnown = "plate_known":
            "A plate or bowl whose diameter the request gives.",
            "Nothing.";
        Coin = "coin":
            "A coin whose diameter the request gives.",
            "Nothing.";
        Card = "card":
            "A card of the size of a bank card (ISO/IEC 7810 ID-1).",
            "Nothing.";
        MetricDepth = "metric_depth":
            "The distances of a metric depth network.",
            "Nothing. A plate's diameter would narrow the interval.";
        PlatePrior = "plate_prior":
            "The usual diameter of plates.",
            "Ask for the plate's diameter once and send it as `reference` from then on.";
        BowlPrior = "bowl_prior":
            "The usual diameter of bowls.",
            "Ask for the bowl's diameter and send it as `reference`.";
        BoardPrior = "board_prior":
            "The usual length of boards and trays.",
            "Lay a bank card on the table, or send `camera.height_cm`.";
        FoodPrior = "food_prior":
            "The usual size of the foods that were recognised.",
            "Lay a bank card on the table, or send a plate's diameter or `camera.height_cm`.";
        HeightPrior = "height_prior":
            "The usual height from which meals are photographed.",
            "Lay a bank card on the table, or send a plate's diameter or `camera.height_cm`.";
        Fused = "fused":
            "Several of the candidates share the decision; only `scale.source` has this value.",
            "Look at `scale.candidates`: those with `used` decided together.";
    }
}

impl ScaleSource {
    /// A guess from what is usual, not a measurement of this scene.
    pub fn is_prior(self) -> bool {
        matches!(
            self,
            Self::PlatePrior | Self::BowlPrior | Self::BoardPrior | Self::FoodPrior | Self::HeightPrior
        )
    }
}

vocabulary! {
    /// Where the food table was read from.
    FoodSourceKind {
        Builtin = "builtin":
            "Compiled into the program.",
            "Nothing.";
        Csv = "csv":
            "A file that the operator names with `--foods`.",
            "Nothing.";
        Postgres = "postgres":
            "A PostgreSQL database that the operator names with `--foods`.",
            "Nothing.";
    }
}
