//! What `bio-bff dev` prints when everything runs: where things are, and commands that work as pasted.

/// Where what runs is reached.
#[derive(Debug)]
pub struct Places<'a> {
    pub base: &'a str,
    pub idp: &'a str,
    pub vision: Option<&'a str>,
    pub subject: &'a str,
}

/// After this line come the commands.
pub const PASTE: &str = "Paste this into another terminal:";

/// Text for a person; what follows [`PASTE`] is for a POSIX shell with curl.
pub fn text(places: &Places<'_>) -> String {
    let Places {
        base, idp, subject, ..
    } = places;
    let vision = places.vision.map_or_else(
        || {
            "not at hand, so there are no scans (build `dragunov` beside this program, or set DRAGUNOV_BIN)"
                .to_owned()
        },
        |url| format!("at {url}"),
    );
    let scan = places.vision.map_or_else(String::new, |_| scan(base));
    format!(
        r#"
bio-bff is at {base} (description: {base}/docs). A demo client is at {base}/app. The vision service is {vision}.
Stop it with Ctrl-C. {PASTE}

TOKEN=$(curl -sf {idp}/token -H 'content-type: application/json' -d '{{"sub":"{subject}"}}')
AUTH="authorization: Bearer $TOKEN"; JSON='content-type: application/json'; NOW=$(date -u +%Y-%m-%dT%H:%M:%SZ)

# The rings of today, the energy score with what it is made of, and the leftovers.
curl -sf {base}/dashboard/state -H "$AUTH"; echo
curl -sf {base}/energy -H "$AUTH"; echo
curl -sf {base}/pantry/leftovers -H "$AUTH"; echo

# Eat half a serving of the newest leftover: the inner ring moves.
ID=$(curl -sf {base}/pantry/leftovers -H "$AUTH" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
curl -sf {base}/pantry/leftovers/consume -H "$AUTH" -H "$JSON" -H "idempotency-key: $(date +%s)-$$" \
  -d '{{"leftover_id":"'"$ID"'","consumed_servings":0.5}}'; echo
curl -sf {base}/dashboard/state -H "$AUTH"; echo

# A bad night and a tired heart: the score falls, and dinner becomes rich in carbohydrate; while the user fasts, from 20 to
# 10 o'clock in Berlin, the word that they do.
curl -sf {base}/sync/batch -H "$AUTH" -H "$JSON" -d '{{"device":"Sample Watch","records":[
  {{"kind":"sleep_score","start":"'"$NOW"'","value":15,"source":"watch"}},
  {{"kind":"hrv_sdnn","start":"'"$NOW"'","value":14,"source":"watch"}}]}}'; echo
curl -sf {base}/feel -H "$AUTH" -H "$JSON" -d '{{"value":5}}'; echo
for _ in $(seq 60); do curl -sf {base}/plan -H "$AUTH" | grep -q '"next_meal_suggestion":{{' && break; sleep 1; done
curl -sf {base}/plan -H "$AUTH"; echo

# Everything that is kept of this user.
curl -sf {base}/me/export -H "$AUTH" -o /dev/null -w 'export: %{{http_code}}, %{{size_download}} bytes\n'
{scan}"#
    )
}

/// A photo from its upload to the confirmed meal.
fn scan(base: &str) -> String {
    format!(
        r#"
# Scan a photo: begin, upload it as the answer says, wait until it is measured, confirm. The ring moves.
PHOTO=${{PHOTO:-fixtures/plates/scene_005/photo.jpg}}
NEW=$(curl -sf {base}/scans -H "$AUTH" -H "$JSON" \
  -d '{{"photos":[{{"content_type":"image/jpeg","bytes":'"$(wc -c <"$PHOTO")"',"pitch_deg":25}}]}}')
SCAN=$(echo "$NEW" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
PUT=$(echo "$NEW" | grep -o '"put":{{.*' | grep -o '"url":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
curl -sf -T "$PHOTO" "$PUT" -H 'content-type: image/jpeg' -H 'x-amz-meta-pitch: 25' -H 'if-none-match: *'
curl -sfN "{base}/scans/$SCAN/events?wait=60" -H "$AUTH"
ETAG=$(curl -sf -o /dev/null -D - {base}/scans/$SCAN -H "$AUTH" | grep -i '^etag:' | tr -d '\r' | cut -d ' ' -f 2)
curl -sf {base}/scans/$SCAN/confirm -H "$AUTH" -H "$JSON" -H "if-match: $ETAG" -d '{{}}'; echo
curl -sf {base}/dashboard/state -H "$AUTH"; echo
"#
    )
}
