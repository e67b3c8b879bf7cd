//! Our checker of linearizability and two others come to the same verdict.

use seaworthy_benches::registers::{self, Shape, disturb, ours, stateright, todc};

/// Histories, unless `SEAWORTHY_ROUNDS` names another number: the peers take long for some of them.
const HISTORIES: u64 = 1_000;

#[test]
fn three_checkers_agree() {
    let asked = std::env::var("SEAWORTHY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let histories = asked.unwrap_or(HISTORIES);
    let (mut linearizable, mut others) = (0, 0);
    for seed in 0..histories {
        let shape = Shape {
            clients: 2 + seed % 3,
            each: 3,
            values: 1 + seed % 4,
            lost: [0.0, 0.1, 0.25][seed as usize % 3],
        };
        let mut history = registers::linearizable(seed, shape);
        let is_disturbed = seed % 4 > 0;
        if is_disturbed {
            disturb(&mut history, seed, shape);
        }
        let verdict = ours(&history);
        assert!(is_disturbed || verdict, "seed {seed}: it was made to be linearizable: {history:#?}");
        assert_eq!(verdict, stateright(&history), "seed {seed}, stateright: {history:#?}");
        assert_eq!(verdict, todc(&history), "seed {seed}, todc-utils: {history:#?}");
        *if verdict { &mut linearizable } else { &mut others } += 1;
    }
    println!("{linearizable} of {histories} were linearizable");
    assert!(linearizable > histories / 5 && others > histories / 5, "{linearizable} and {others}");
}
