//! The same sentences on a server that speaks Toxiproxy's API.

use std::time::Duration;

use seaworthy_fault_proxy::{Proxies, Toxic, api};
use seaworthy_harness::{Error, toxiproxy::Toxiproxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A server with a proxy called `echo` in front of one that sends back what it gets.
async fn server() -> (Proxies, Toxiproxy, api::Api) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let proxies = Proxies::with_seed(7);
    let api = api::serve(proxies.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let toxiproxy = Toxiproxy::at(api.address().to_string());
    toxiproxy.create("echo", "127.0.0.1:0", &upstream).await.unwrap();
    (proxies, toxiproxy, api)
}

fn on(proxies: &Proxies) -> Vec<String> {
    proxies.get("echo").unwrap().toxics().iter().map(Toxic::name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_toxic_that_toxiproxy_has_is_set_read_back_and_taken_away() {
    let (proxies, toxiproxy, _api) = server().await;
    let ms = Duration::from_millis;
    let faults = || toxiproxy.faults("echo");
    for (sentence, name) in [
        (faults().latency(ms(20)).jitter(ms(5)), "latency_downstream"),
        (faults().latency(ms(20)).on_requests().toxicity(0.5), "latency_upstream"),
        (faults().bandwidth(100), "bandwidth_downstream"),
        (faults().slow_close(ms(10)), "slow_close_downstream"),
        (faults().timeout(ms(10)), "timeout_downstream"),
        (faults().limit_data(10), "limit_data_downstream"),
        (faults().toxic(Toxic::slicer(100, 10, ms(1))), "slicer_downstream"),
        (faults().reset(), "reset_peer_downstream"),
    ] {
        let fault = sentence.inject().await.unwrap();
        assert_eq!(on(&proxies), [name]);
        fault.heal().await.unwrap();
        assert!(on(&proxies).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_server_heal_on_drop_and_on_time() {
    let (proxies, toxiproxy, _api) = server().await;
    drop(toxiproxy.faults("echo").latency(Duration::from_millis(20)).inject().await.unwrap());
    assert!(on(&proxies).is_empty(), "a drop waits until it is gone");
    let down = toxiproxy.faults("echo").down().inject().await.unwrap();
    let address = proxies.get("echo").unwrap().listen();
    assert!(TcpStream::connect(address).await.is_err());
    drop(down);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"echo").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    let brief =
        toxiproxy.faults("echo").latency(Duration::from_millis(1)).for_time(Duration::from_millis(50)).await;
    let brief = brief.unwrap();
    while !brief.is_healed() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_passes_over_in_silence_is_an_error() {
    let (_proxies, toxiproxy, api) = server().await;
    let said = |outcome: Result<_, Error>| outcome.map(drop).unwrap_err().to_string();
    let _first = toxiproxy.faults("echo").latency(Duration::from_millis(1)).inject().await.unwrap();
    let twice = said(toxiproxy.faults("echo").latency(Duration::from_millis(2)).inject().await);
    assert!(twice.contains("latency_downstream is on already"), "{twice}");
    let unknown = said(toxiproxy.faults("nobody").bandwidth(1).inject().await);
    assert!(unknown.contains("the Toxiproxy at"), "{unknown}");
    let foreign = said(toxiproxy.faults("echo").toxic(Toxic::blackhole()).inject().await);
    assert!(foreign.contains("it has no toxic `blackhole`"), "{foreign}");
    let huge = said(toxiproxy.faults("echo").limit_data(u64::MAX).inject().await);
    assert!(huge.contains("more than"), "{huge}");
    drop(api);
    let nobody = Toxiproxy::at("127.0.0.1:1");
    assert!(said(nobody.faults("echo").bandwidth(1).inject().await).contains("127.0.0.1:1"));
}
