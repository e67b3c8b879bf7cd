//! The library with members, books and loans that factories make.

use fake::faker::{lorem::en::Sentence, name::en::Name};
use lending_library::{Membership, may_borrow};
use proptest::prelude::*;
use seaworthy_factories::{Error, Factory, Lint};
use seaworthy_harness::Env;

#[derive(Debug, Clone, Factory)]
#[factory(table = "members", state(junior(membership = Membership::Junior)))]
struct Member {
    #[factory(key)]
    id: i64,
    #[factory(fake = Name())]
    name: String,
    #[factory(with = |record| format!("{:06}", record.number() % 1_000_000))]
    card: String,
    #[factory(weighted = [(Membership::Full, 4), (Membership::Junior, 1)])]
    membership: Membership,
}

#[derive(Debug, Clone, Factory)]
#[factory(table = "books")]
struct Book {
    #[factory(key)]
    id: i64,
    #[factory(fake = Sentence(2..6))]
    title: String,
}

#[derive(Debug, Clone, Factory)]
#[factory(table = "loans")]
struct Loan {
    #[factory(key)]
    id: i64,
    #[factory(parent = Member)]
    member_id: i64,
    #[factory(parent = Book)]
    book_id: i64,
    #[factory(fake = 1..=60)]
    days: i32,
}

#[seaworthy_harness::test]
async fn a_junior_may_have_three_books(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let eager = MemberFactory::new().junior().has(LoanFactory::new().count(3)).create(&db).await?;
    let other = MemberFactory::new().junior().has(LoanFactory::new().count(2)).create(&db).await?;
    assert!(!may_borrow(&db, eager.id).await?);
    assert!(may_borrow(&db, other.id).await?);
    Ok(())
}

#[seaworthy_harness::test]
async fn a_busy_library_is_there_at_once(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let books = BookFactory::new().count(500).create(&db).await?;
    let members = MemberFactory::new().count(100).create(&db).await?;
    let loans = LoanFactory::new().count(20).for_each(&members).book(&books).create(&db).await?;
    assert_eq!(loans.len(), 2_000);
    assert!(loans.iter().all(|loan| loan.id > 0 && loan.member_id > 0 && loan.book_id > 0 && loan.days > 0));
    Ok(())
}

#[seaworthy_harness::test]
async fn every_factory_fits_its_table(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    Lint::new().factory::<MemberFactory>().factory::<BookFactory>().factory::<LoanFactory>().run(&db).await?;
    Ok(())
}

proptest! {
    #[test]
    fn nobody_has_a_name_that_the_card_has_no_room_for(member in MemberFactory::new().strategy()) {
        prop_assert!(member.name.len() <= 80 && member.card.len() == 6);
    }
}

#[test]
fn titles_are_those_of_the_seed() {
    let title = || BookFactory::new().make().map(|book| book.title);
    assert_eq!(title().ok(), title().ok());
}
