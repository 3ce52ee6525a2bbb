//! Amazon SQS. Tries and dead letters are the queue's own redrive policy.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry};
use futures::future::BoxFuture;
use serde_json::Value;

use super::{Depth, Outcome, Outgoing, Queue, QueueError, Received};

/// SQS takes and gives ten at a time.
const AT_ONCE: usize = 10;

/// One queue, by its URL.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

/// The service's own code and nothing that could hold a body.
fn error<E: aws_sdk_sqs::error::ProvideErrorMetadata, R>(
    e: &aws_sdk_sqs::error::SdkError<E, R>,
) -> QueueError {
    use aws_sdk_sqs::error::ProvideErrorMetadata;
    QueueError::Sqs(e.code().unwrap_or("no answer").to_owned())
}

fn seconds(d: Duration) -> i32 {
    i32::try_from(d.as_secs()).unwrap_or(i32::MAX)
}

impl SqsQueue {
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    async fn attribute(&self, url: &str, name: QueueAttributeName) -> Outcome<Option<String>> {
        let got = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(name.clone())
            .send()
            .await;
        let got = got.map_err(|e| error(&e))?;
        Ok(got.attributes.and_then(|mut a| a.remove(&name)))
    }

    async fn dead_letter_arn(&self) -> Outcome<Option<String>> {
        let policy = self
            .attribute(&self.url, QueueAttributeName::RedrivePolicy)
            .await?;
        let policy: Option<Value> = policy.and_then(|p| serde_json::from_str(&p).ok());
        Ok(policy.and_then(|p| p.get("deadLetterTargetArn")?.as_str().map(str::to_owned)))
    }
}

impl SqsQueue {
    /// `arn:aws:sqs:<region>:<account>:<name>`
    async fn url_of(&self, arn: &str) -> Outcome<String> {
        let name = arn.rsplit(':').next().unwrap_or_default();
        let found = self.client.get_queue_url().queue_name(name).send().await;
        found
            .map_err(|e| error(&e))?
            .queue_url
            .ok_or_else(|| QueueError::Sqs("the dead letter queue has no URL".into()))
    }
}

impl Queue for SqsQueue {
    fn send<'a>(&'a self, messages: &'a [Outgoing]) -> BoxFuture<'a, Outcome<Vec<bool>>> {
        Box::pin(async move {
            let fifo = self.url.ends_with(".fifo");
            let mut taken = vec![false; messages.len()];
            for (chunk, group) in messages.chunks(AT_ONCE).enumerate() {
                let mut request = self.client.send_message_batch().queue_url(&self.url);
                for (i, m) in group.iter().enumerate() {
                    let mut entry = SendMessageBatchRequestEntry::builder()
                        .id(i.to_string())
                        .message_body(m.body.to_string());
                    if fifo {
                        let user = m.body.get("user_id").and_then(Value::as_str).unwrap_or("all");
                        let event = m.body.get("event_id").and_then(Value::as_str).unwrap_or_default();
                        entry = entry.message_group_id(user).message_deduplication_id(event);
                    } else {
                        entry = entry.delay_seconds(seconds(m.delay).min(900));
                    }
                    request = request.entries(entry.build().map_err(|_| QueueError::Sqs("entry".into()))?);
                }
                let sent = request.send().await.map_err(|e| error(&e))?;
                for good in sent.successful {
                    if let Ok(i) = good.id.parse::<usize>()
                        && let Some(place) = taken.get_mut(chunk * AT_ONCE + i)
                    {
                        *place = true;
                    }
                }
            }
            Ok(taken)
        })
    }

    fn receive(
        &self,
        most: u32,
        visibility: Duration,
        wait: Duration,
    ) -> BoxFuture<'_, Outcome<Vec<Received>>> {
        Box::pin(async move {
            let got = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(i32::try_from(most).unwrap_or(10).clamp(1, 10))
                .visibility_timeout(seconds(visibility))
                .wait_time_seconds(seconds(wait).min(20))
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .send()
                .await
                .map_err(|e| error(&e))?;
            let received = got.messages.unwrap_or_default().into_iter().filter_map(|m| {
                let attempts = m
                    .attributes
                    .as_ref()
                    .and_then(|a| a.get(&MessageSystemAttributeName::ApproximateReceiveCount))
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(1);
                Some(Received {
                    id: m.message_id?,
                    // What is no JSON is a poisoned message, and ends among the dead letters as such.
                    body: serde_json::from_str(&m.body?).unwrap_or(Value::Null),
                    receipt: m.receipt_handle?,
                    attempts,
                })
            });
            Ok(received.collect())
        })
    }

    fn delete<'a>(&'a self, receipt: &'a str) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async move {
            let request = self
                .client
                .delete_message()
                .queue_url(&self.url)
                .receipt_handle(receipt);
            request.send().await.map(|_| ()).map_err(|e| error(&e))
        })
    }

    fn hide<'a>(&'a self, receipt: &'a str, visibility: Duration) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async move {
            let request = self
                .client
                .change_message_visibility()
                .queue_url(&self.url)
                .receipt_handle(receipt)
                .visibility_timeout(seconds(visibility));
            request.send().await.map(|_| ()).map_err(|e| error(&e))
        })
    }

    fn redrive(&self, most: u32) -> BoxFuture<'_, Outcome<u64>> {
        Box::pin(async move {
            let Some(arn) = self.dead_letter_arn().await? else {
                return Err(QueueError::Sqs("the queue has no dead letter queue".into()));
            };
            // SQS moves all of them, at a rate.
            let rate = i32::try_from(most).unwrap_or(500).clamp(1, 500);
            let task = self
                .client
                .start_message_move_task()
                .source_arn(arn)
                .max_number_of_messages_per_second(rate);
            task.send().await.map_err(|e| error(&e))?;
            Ok(0)
        })
    }

    fn depth(&self) -> BoxFuture<'_, Outcome<Depth>> {
        Box::pin(async move {
            let number = |text: Option<String>| text.and_then(|t| t.parse().ok()).unwrap_or(0);
            let waiting = self
                .attribute(&self.url, QueueAttributeName::ApproximateNumberOfMessages)
                .await?;
            let hidden = self
                .attribute(
                    &self.url,
                    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
                )
                .await?;
            let dead = match self.dead_letter_arn().await? {
                Some(arn) => {
                    let url = self.url_of(&arn).await?;
                    self.attribute(&url, QueueAttributeName::ApproximateNumberOfMessages)
                        .await?
                }
                None => None,
            };
            Ok(Depth {
                waiting: number(waiting),
                hidden: number(hidden),
                dead: number(dead),
            })
        })
    }
}
