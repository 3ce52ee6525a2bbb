//! SQS, on the server of `BFF_TEST_AWS_ENDPOINT`: scripts/ci-bff.sh starts one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use bio_bff::queue::{Outgoing, Queue, SqsQueue};
use serde_json::{Value, json};

use crate::events::{Worker, start};
use crate::queue::{a_poisoned_message_takes_no_other_along, hides_returns_and_delays};

fn client() -> Option<Client> {
    let Ok(endpoint) = std::env::var("BFF_TEST_AWS_ENDPOINT") else {
        eprintln!("NOT RUN: needs BFF_TEST_AWS_ENDPOINT (scripts/ci-bff.sh)");
        return None;
    };
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    Some(Client::from_conf(config))
}

/// A queue whose messages are dead after three tries.
async fn queue(client: &Client, fifo: bool) -> SqsQueue {
    static QUEUES: AtomicUsize = AtomicUsize::new(0);
    let n = QUEUES.fetch_add(1, Ordering::SeqCst);
    let end = if fifo { ".fifo" } else { "" };
    let create = async |name: String, attributes: Vec<(QueueAttributeName, String)>| {
        let mut create = client.create_queue().queue_name(name);
        if fifo {
            create = create.attributes(QueueAttributeName::FifoQueue, "true");
        }
        for (name, value) in attributes {
            create = create.attributes(name, value);
        }
        create.send().await.unwrap().queue_url.unwrap()
    };
    let process = std::process::id();
    let dead = create(format!("dead-{process}-{n}{end}"), vec![]).await;
    let attributes = client
        .get_queue_attributes()
        .queue_url(dead)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .unwrap();
    let arn = &attributes.attributes.unwrap()[&QueueAttributeName::QueueArn];
    let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": 3}).to_string();
    let url = create(
        format!("events-{process}-{n}{end}"),
        vec![(QueueAttributeName::RedrivePolicy, policy)],
    )
    .await;
    SqsQueue::new(client.clone(), url)
}

#[tokio::test]
async fn in_sqs_messages_hide_return_and_wait() {
    let Some(client) = client() else { return };
    hides_returns_and_delays(Arc::new(queue(&client, false).await)).await;
}

#[tokio::test]
async fn in_sqs_a_poisoned_message_is_alone() {
    let Some(client) = client() else { return };
    let Some((s, c, _)) = start().await else { return };
    let queue = Arc::new(queue(&client, false).await);
    let w = Worker::over(&s, |_| queue);
    a_poisoned_message_takes_no_other_along(&c, &w).await;
}

#[tokio::test]
async fn a_fifo_queue_drops_a_repeated_event() {
    let Some(client) = client() else { return };
    let queue = queue(&client, true).await;
    let event = |id: u128| Outgoing {
        body: json!({"event_id": uuid::Uuid::from_u128(id), "user_id": uuid::Uuid::from_u128(7), "kind": "x"}),
        dedup_key: None,
        delay: Duration::ZERO,
    };
    queue.send(&[event(1), event(2)]).await.unwrap();
    queue.send(&[event(1)]).await.unwrap();
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let got = queue
            .receive(10, Duration::from_secs(30), Duration::ZERO)
            .await
            .unwrap();
        if got.is_empty() {
            break;
        }
        for m in got {
            queue.delete(&m.receipt).await.unwrap();
            seen.push(m.body["event_id"].clone());
        }
    }
    assert_eq!(seen, [1u128, 2].map(|n| json!(uuid::Uuid::from_u128(n))));
}
