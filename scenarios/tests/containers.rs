//! The scenarios in containers, where a Docker daemon answers.

use futures_util::{StreamExt, stream};
use seaworthy_harness::{
    Play, ProviderChoice,
    reports::{Status, Verdict},
};
use seaworthy_scenarios::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds_in_containers() {
    if let Err(error) = seaworthy_harness::docker_version().await {
        assert!(
            std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(),
            "SEAWORTHY_REQUIRE_DOCKER is set: {error}"
        );
        return eprintln!("the container tests are skipped: {error}");
    }
    let play = Play::new(7).provider(ProviderChoice::Docker);
    // What a build has just written must not hold up what Postgres writes.
    nix::unistd::sync();
    let all = Shop::new(env!("CARGO_BIN_EXE_seaworthy")).scenarios();
    let (alone, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|scenario| scenario.name() == "graceful-restart");
    // Two at once: more would test the machine. The one whose clients hardly rest has it for itself.
    for (scenarios, at_once) in [(others, 2), (alone, 1)] {
        let mut playing = stream::iter(scenarios).map(|scenario| play.of(scenario)).buffered(at_once);
        while let Some(played) = playing.next().await {
            let record = played.unwrap().record;
            assert_eq!(record.status, Status::Played);
            let (name, checks, numbers) = (&record.name, &record.checks, &record.numbers);
            assert_eq!(record.verdict(), Verdict::Held, "{name}: {checks:#?}\n{numbers:#?}");
        }
    }
}
