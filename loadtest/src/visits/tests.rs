use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Serves a page with a style sheet, a script and a seat layout.
async fn serve_page(mut stream: TcpStream) -> io::Result<()> {
    let mut received = Vec::new();
    while stream.read_buf(&mut received).await? > 0 {
        while let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let body = match head.split(|byte| *byte == b' ').nth(1) {
                Some(path) if path.starts_with(b"/c/") => {
                    r#"<link href="/page.css"><script src="/page.js"></script>"#
                }
                Some(path) if path.ends_with(b"/status") => r#"{"layoutVersion":"1"}"#,
                _ => "{}",
            };
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(response.as_bytes()).await?;
        }
    }
    Ok(())
}

async fn visits(connections: usize) -> Visits {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client =
        Client::new(&format!("http://{}", listener.local_addr().unwrap()), 1, Duration::from_secs(30));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_page(stream));
        }
    });
    let arguments =
        OpeningArguments { warm_share: 0.0, book_share: 0.0, streams: false, stay: Duration::ZERO };
    let limits = VisitLimits { connections, streams: 0, timeout: Duration::from_secs(30) };
    Visits::prepare(arguments, &client.unwrap(), &[Uuid::nil()], limits).await.unwrap()
}

/// A step of the page sends two requests. Visits that each held one connection and waited for another never ended.
#[tokio::test]
async fn visits_complete_although_all_need_more_connections_than_there_are() {
    for connections in [1, 10] {
        let visits = visits(connections).await;
        let opened =
            join_all((0..50).map(|visitor| visits.open_page(visitor, false, || Duration::ZERO))).await;
        assert!(opened.iter().all(Option::is_some));
        let counts = visits.totals().await.counts;
        assert_eq!((counts.complete, counts.failed, counts.requests), (50, 0, 50 * 5));
        assert!(visits.waited() > 0);
    }
}
