//! A notice, beyond this service's own sockets: to sockets that a gateway holds, and to phones.

use jiff::Timestamp;

use super::handle::{Failed, Hands};
use crate::domain::notice;
use crate::notify::frame::ToClient;
use crate::notify::gateway::Posted;
use crate::notify::push::{Push, Sent};
use crate::store::UserId;
use crate::store::devices::Device;
use crate::store::notices::Notice;

pub(super) async fn deliver(hands: &Hands, user: UserId, id: i64) -> Result<(), Failed> {
    let (notice, pushed, sockets, devices) = {
        let mut tx = hands.db.user(user).await?;
        let Some((notice, pushed)) = tx.notice(id).await? else {
            return Ok(());
        };
        (notice, pushed, tx.gateway_sockets().await?, tx.devices().await?)
    };
    let mut later = false;
    if let Some(gateway) = &hands.gateway {
        for socket in sockets.iter().filter(|s| s.told < id) {
            let posted = gateway
                .post(&socket.connection, ToClient::from(notice.clone()).text())
                .await;
            let mut tx = hands.db.user(user).await?;
            match posted {
                Posted::Done => tx.told_gateway_socket(&socket.connection, id).await?,
                Posted::Gone => tx.close_gateway_socket(&socket.connection).await?,
                Posted::Later => later = true,
            }
            tx.commit().await?;
        }
    }
    if let Some(alert) = notice::alert(&notice.kind) {
        for device in devices.iter().filter(|d| !pushed.contains(&d.id)) {
            later |= !push(hands, user, &notice, alert, device).await?;
        }
    }
    if later {
        Err(Failed::Later("not everybody was told"))
    } else {
        Ok(())
    }
}

/// Whether there is nothing left to do for this phone.
async fn push(
    hands: &Hands,
    user: UserId,
    notice: &Notice,
    alert: &'static str,
    device: &Device,
) -> Result<bool, Failed> {
    let Some(sender) = hands.push.of(device) else {
        return Ok(true);
    };
    let push = Push {
        alert,
        kind: notice.kind.clone(),
        subject: notice.subject,
    };
    let sent = sender.send(&device.token, &push).await;
    count(device, &sent);
    let mut tx = hands.db.user(user).await?;
    match sent {
        Sent::Delivered => tx.note_pushed(notice.id, device.id).await?,
        // Registered anew since then: the same token may be good again.
        Sent::Gone(since) => {
            tx.forget_device(device.id, Some(since.unwrap_or(Timestamp::now())))
                .await?;
        }
        Sent::Refused(word) => {
            tracing::error!(
                platform = device.platform.as_str(),
                "the push service refuses us: {word}"
            );
        }
        Sent::Later(_) => return Ok(false),
    }
    tx.commit().await?;
    Ok(true)
}

fn count(device: &Device, sent: &Sent) {
    let outcome = match sent {
        Sent::Delivered => "delivered",
        Sent::Gone(_) => "gone",
        Sent::Later(_) => "later",
        Sent::Refused(_) => "refused",
    };
    metrics::counter!("bff_pushes_total", "platform" => device.platform.as_str(), "outcome" => outcome)
        .increment(1);
}
