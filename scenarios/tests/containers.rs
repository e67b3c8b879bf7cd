//! The scenarios in containers, where a Docker daemon answers.

use futures_util::{StreamExt, stream};
use seaworthy_harness::{
    ProviderChoice,
    reports::{Status, Verdict},
};
use seaworthy_scenarios::{Voyage, scenarios};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds_in_containers() {
    if let Err(error) = seaworthy_harness::docker_version().await {
        assert!(
            std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(),
            "SEAWORTHY_REQUIRE_DOCKER is set: {error}"
        );
        return eprintln!("the container tests are skipped: {error}");
    }
    let program = env!("CARGO_BIN_EXE_seaworthy").into();
    let voyage = Voyage { program, provider: ProviderChoice::Docker, seed: 7, bug: None };
    let all = scenarios();
    // Two at once: more would test the machine.
    let mut playing = stream::iter(&all).map(|scenario| voyage.play(scenario, |_| {})).buffered(2);
    while let Some(played) = playing.next().await {
        let record = played.unwrap().record;
        assert_eq!(record.status, Status::Played);
        assert_eq!(
            record.verdict(),
            Verdict::Held,
            "{}: {:#?}\n{:#?}",
            record.name,
            record.checks,
            record.numbers
        );
    }
}
