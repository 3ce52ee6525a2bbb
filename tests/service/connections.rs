//! What a connection may hold: silent and slow ones are cut, used ones are not.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::TestApp;
use crate::patience::PATIENCE;
use crate::process::{Service, client};

const IDLE: Duration = Duration::from_millis(400);

async fn app() -> TestApp {
    idling(IDLE).await
}

async fn idling(time: Duration) -> TestApp {
    TestApp::with(|k| k.serve.connections.idle_time = time).await
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(&app.url[7..]).await.unwrap()
}

/// What still comes until the other side ends the connection, by whatever means.
async fn until_cut(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // Reset or ended: either way it is over.
    let _ = end.expect("the connection is held open");
    rest
}

/// One answer, whose body is shorter than a packet.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let n = tokio::time::timeout(PATIENCE, stream.read(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_connections_are_cut() {
    let app = app().await;
    for (what, said) in [
        ("silence", b"".as_slice()),
        (
            "a head that never ends",
            b"POST /run HTTP/1.1\r\nhost: x\r\nx-slow: ",
        ),
        ("half of HTTP/2's greeting", b"PRI * HTTP/2.0\r\n"),
        // Greeting and empty settings.
        (
            "HTTP/2 without a request",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
    ] {
        let begun = Instant::now();
        let mut stream = connect(&app).await;
        stream.write_all(said).await.unwrap();
        until_cut(&mut stream).await;
        assert!(begun.elapsed() >= IDLE / 2, "{what} was cut at once");
    }
    assert_eq!(app.get("/livez").await.0, 200);
}

/// Byte by byte no head is long in coming, and none arrives.
#[tokio::test(flavor = "multi_thread")]
async fn dribbled_heads_are_cut() {
    let app = app().await;
    for said in [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        b"GET /livez HTTP/1.1\r\n",
    ] {
        let mut stream = connect(&app).await;
        let begun = Instant::now();
        let mut cut = false;
        for byte in said.iter().cycle() {
            // Written to a connection that is gone: an error, at the second write at the latest.
            cut = stream.write_all(&[*byte]).await.is_err();
            if cut || begun.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(IDLE / 8).await;
        }
        assert!(cut, "{}", String::from_utf8_lossy(said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn used_connections_are_kept() {
    // Long enough for a slow machine to begin the second request within it.
    let idle = 10 * IDLE;
    let app = idling(idle).await;
    let mut stream = connect(&app).await;
    // A request that runs for longer than a connection may idle.
    let long = json!({"input": {"mock_return": "long", "mock_delay": idle.as_secs_f64() * 1.5}}).to_string();
    let head = format!(
        "POST /runsync HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let said = answer(&mut stream).await;
    assert!(
        said.starts_with("HTTP/1.1 200") && said.contains("\"long\""),
        "{said}"
    );
    // Its time to idle begins anew.
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let said = answer(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(until_cut(&mut stream).await.is_empty());
}

/// An answer larger than the system's buffers, to somebody who does not read it.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_dropped() {
    let app = app().await;
    let mut stream = connect(&app).await;
    let size = 15 << 20;
    let body = json!({"input": {"mock_return": "x".repeat(size)}}).to_string();
    let head = format!(
        "POST /runsync HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    // The answer begins, and is then left alone.
    tokio::time::timeout(PATIENCE, stream.readable())
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(IDLE * 5).await;
    let got = until_cut(&mut stream).await.len();
    assert!(got > 0 && got < size, "{got} of {size} bytes");
}

/// More idle connections than the process has file handles for: callers are answered meanwhile and after.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_use_up_the_listener() {
    let service = Service::with_files(200, &["--engine", "stub"]);
    let http = client();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(service.address()).await.unwrap());
    }
    let begun = Instant::now();
    let livez = format!("{}/livez", service.url);
    for _ in 0..5 {
        assert_eq!(http.get(&livez).send().await.unwrap().status(), 200);
    }
    drop(idle);
    assert_eq!(client().get(&livez).send().await.unwrap().status(), 200);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

/// Where the machine allows more file handles than the process begins with, it takes them.
#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_files_is_raised() {
    let limits = "ulimit -S -n 200 && ulimit -H -n 900";
    let service = Service::of(env!("CARGO_BIN_EXE_dragunov"), limits, &["--engine", "stub"]);
    service.ready(&client()).await;
    assert_eq!(service.file_limits(), [900, 900]);
}
