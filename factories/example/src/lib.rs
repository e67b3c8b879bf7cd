//! A lending library: what members may borrow.

use sqlx::PgPool;

/// What a member pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "membership", rename_all = "lowercase")]
pub enum Membership {
    /// Three books at once.
    Junior,
    /// Ten books at once.
    Full,
}

impl Membership {
    /// How many books a member may have at once.
    pub fn books(self) -> i64 {
        match self {
            Membership::Junior => 3,
            Membership::Full => 10,
        }
    }
}

/// Whether the member may borrow one more book.
///
/// # Errors
///
/// When there is no such member, or the database can't be asked.
pub async fn may_borrow(db: &PgPool, member: i64) -> sqlx::Result<bool> {
    let (membership, loans): (Membership, i64) = sqlx::query_as(
        "select membership, (select count(*) from loans where member_id = members.id) from members where id = $1",
    )
    .bind(member)
    .fetch_one(db)
    .await?;
    Ok(loans < membership.books())
}
