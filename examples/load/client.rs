//! A lean HTTP/1.1 client: one connection, one request at a time, so that little of what is measured is its own.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// From the first byte sent to the last one read.
    pub ms: f64,
}

impl Client {
    /// For `http://host:port`; connects at the first request.
    pub fn new(url: &str) -> Self {
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            stream: None,
            buffer: Vec::new(),
        }
    }

    pub async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: load\r\n\r\n"))
            .await
    }

    pub async fn post(&mut self, path: &str, json: &str) -> io::Result<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            json.len()
        );
        self.ask(head + json).await
    }

    async fn ask(&mut self, request: String) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(open) => open,
            None => TcpStream::connect(&self.address).await?,
        };
        stream.set_nodelay(true)?;
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let (status, begin, length) = loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = head(&self.buffer) {
                break head?;
            }
        };
        while self.buffer.len() < begin + length {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        self.stream = Some(stream);
        Ok(Answer {
            status,
            body: self.buffer[begin..begin + length].to_vec(),
            ms,
        })
    }
}

/// Status, where the body begins and how long it is; none as long as the head is not whole.
fn head(bytes: &[u8]) -> Option<io::Result<(u16, usize, usize)>> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|v| v.trim().parse().ok());
    Some(match (status, length) {
        (Some(status), Some(length)) => Ok((status, end, length)),
        _ => Err(io::Error::other(format!("not understood: {text}"))),
    })
}
