//! Stopping in order.

use std::time::Duration;

use super::fixture::{Client, Server};

#[test]
fn a_running_request_is_finished_and_the_next_start_finds_it() {
    let mut server = Server::start();
    let mut idle = server.connect();
    idle.request("GET", "/health", &[], b"").is(200);
    let mut running = server.connect();
    running.send("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    std::thread::sleep(Duration::from_millis(100));
    server.ask_to_stop();
    assert!(idle.is_closed());
    std::thread::sleep(Duration::from_millis(100));
    assert!(std::net::TcpStream::connect(server.address).is_err(), "no new connections");
    running.send("cde");
    let put = running.reply("PUT");
    put.is(201);
    assert!(running.is_closed());
    let again = Server::over(server.stop(), |_| ());
    let get = again.get("/v1/keys/k");
    assert_eq!((&*get.body, get.etag()), (&b"abcde"[..], put.etag()));
}

#[test]
fn a_request_that_never_ends_is_cut_at_the_drain_deadline() {
    let mut server = Server::with(|settings| settings.http.drain_deadline = Duration::from_millis(300));
    let mut stuck = Client::connect(server.address);
    stuck.send("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    std::thread::sleep(Duration::from_millis(100));
    server.ask_to_stop();
    assert!(stuck.is_closed());
    let again = Server::over(server.stop(), |_| ());
    again.get("/v1/keys/k").is(404);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let server = Server::start();
    for n in 0..50 {
        server.put(&format!("/v1/keys/{n}"), format!("value {n}").as_bytes()).is(201);
    }
    server.request("DELETE", "/v1/keys/7", &[], b"").is(204);
    let again = Server::over(server.stop(), |_| ());
    for n in 0..50 {
        let get = again.get(&format!("/v1/keys/{n}"));
        if n == 7 {
            get.is(404);
        } else {
            assert_eq!(get.is(200).text(), format!("value {n}"));
        }
    }
}
