//! Refusals, and where the token goes.

use dragunov::weights_pull::{Hub, HubConfig, PullError};

use crate::hub::FakeHub;
use crate::{cache, client, model, quiet, serve};

#[tokio::test]
async fn refusals_are_typed() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    server.require_token("right");
    let refused = quiet(&client(&server, None), &cache, &model).await.unwrap_err();
    assert!(
        matches!(refused, PullError::Refused { status: 401, .. }),
        "{refused}"
    );
    let wrong = client(&server, Some("wrong-token"));
    let refused = quiet(&wrong, &cache, &model).await.unwrap_err();
    assert!(!format!("{refused} {refused:?} {wrong:?}").contains("wrong-token"));
    quiet(&client(&server, Some("right")), &cache, &model)
        .await
        .unwrap();

    let empty = FakeHub::start().await;
    let other = tempfile::tempdir().unwrap();
    let error = quiet(&client(&empty, None), &crate::cache(other.path()), &model)
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_nowhere_else() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let cache = cache(dir.path());
    quiet(&client(&server, Some("secret")), &cache, &model(""))
        .await
        .unwrap();
    let log = server.log();
    assert!(
        log.hub_tokens
            .iter()
            .all(|t| t.as_deref() == Some("Bearer secret"))
    );
    assert!(!log.storage_tokens.is_empty());
    assert!(
        log.storage_tokens.iter().all(Option::is_none),
        "{:?}",
        log.storage_tokens
    );

    for endpoint in ["http://example.com", "ftp://example.com", "nonsense"] {
        let config = HubConfig {
            endpoint: endpoint.into(),
            token: Some("secret".to_owned().into()),
            ..HubConfig::default()
        };
        assert!(
            matches!(Hub::new(config), Err(PullError::Endpoint(_))),
            "{endpoint}"
        );
    }
}
