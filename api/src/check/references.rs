//! Rules for rows that the auditor does not read again and again: retries, descriptions and digests of sales, releases, and dead
//! letters.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::problem::{Problem, Repair, listed};

/// A rule, and the query of the ids that break it.
struct Rule {
    name: &'static str,
    /// What is wrong with the rows whose ids follow.
    description: &'static str,
    repair: Option<Repair>,
    action: &'static str,
    query: &'static str,
}

const RULES: [Rule; 8] = [
    Rule {
        name: "shared-sale",
        description: "sales are shared by bookings that are no retries of each other",
        repair: None,
        action: "Two buyers were told that they have the same seats. Find the first booking by `sales.ticket_id`; restore all \
                 tables from one backup, or decide by hand.",
        query: "SELECT DISTINCT sale.id FROM bookings booking JOIN sales sale ON sale.id = booking.sale_id
                WHERE booking.ticket_id <> sale.ticket_id AND booking.alias_of IS DISTINCT FROM sale.ticket_id",
    },
    Rule {
        name: "undescribed-seats",
        description: "sales do not say what their seats were called, so their tickets cannot be read",
        repair: Some(Repair::DescribeSoldSeats),
        action: "Run with --repair.",
        query: "SELECT DISTINCT sale_id FROM sale_seats sold JOIN seats seat ON seat.id = sold.seat_id
                WHERE num_nulls(sold.concert_id, sold.ticket_tier_id, sold.section, sold.\"row\", sold.seat_number) > 0",
    },
    Rule {
        name: "undescribed-missing-seats",
        description: "sales do not say what their seats were called, and the seats do not exist",
        repair: None,
        action: "Restore the rows of `seats` from a backup, and run with --repair.",
        query: "SELECT DISTINCT sale_id FROM sale_seats sold
                WHERE num_nulls(concert_id, ticket_tier_id, section, \"row\", seat_number) > 0
                  AND NOT EXISTS (SELECT FROM seats WHERE seats.id = sold.seat_id)",
    },
    Rule {
        name: "undigested-customers",
        description: "sales of concerts that have not begun do not count towards a limit of seats per customer",
        repair: Some(Repair::DigestCustomers),
        action: "Run with --repair.",
        query: "SELECT id FROM sales sale
                WHERE customer_digest IS NULL AND user_email <> 'erased@customer.invalid'
                  AND octet_length(user_email) = char_length(user_email)
                  AND EXISTS (SELECT FROM sale_seats sold JOIN concerts concert ON concert.id = sold.concert_id
                              WHERE sold.sale_id = sale.id AND concert.begins_at > now())",
    },
    Rule {
        name: "unfinished-releases",
        description: "releases name a sale or seats of it that were not released",
        repair: None,
        action: "A release and its sale are from different backups. See `SELECT * FROM releases`, and release the seats again \
                 or delete the row.",
        query: "SELECT release.id FROM releases release
                WHERE EXISTS (SELECT FROM unnest(release.seat_ids) AS seat (id)
                              WHERE NOT EXISTS (SELECT FROM sale_seats sold
                                                WHERE sold.sale_id = release.sale_id AND sold.seat_id = seat.id
                                                  AND sold.released_at IS NOT NULL))",
    },
    Rule {
        name: "free-from-in-the-future",
        description: "free seats cannot be sold before a moment far in the future",
        repair: Some(Repair::FreeSeats),
        action: "The clock of a database server was wrong when they were released, or no api instance runs that would finish \
                 their release. Run with --repair.",
        // An instance finishes a release within seconds.
        query: "SELECT id FROM seats seat
                WHERE booked_at IS NULL AND free_from > now() + interval '1 minute'
                  AND NOT EXISTS (SELECT FROM releases
                                  WHERE NOT is_finished AND released_at > now() - interval '1 minute'
                                    AND seat.id = ANY(seat_ids))",
    },
    Rule {
        name: "concert-without-version",
        description: "first seats of concerts without a row in `freed_versions`: bookings of their sold seats are not rejected \
                      early",
        repair: Some(Repair::ConcertVersions),
        action: "Run with --repair.",
        query: "SELECT min(id) FROM seats
                WHERE NOT EXISTS (SELECT FROM freed_versions WHERE freed_versions.concert_id = seats.concert_id)
                GROUP BY concert_id",
    },
    Rule {
        // A rejected booking may have been deleted after its retention.
        name: "lost-reissues",
        description: "dead letters were reissued a day ago or earlier, and their new tickets have no outcome",
        repair: None,
        action: "The bookings are lost: read the tickets' status, which expires them, and reissue the letters again.",
        query: "SELECT id FROM dead_letters letter
                WHERE resolution = 'reissued' AND resolved_at < now() - interval '1 day'
                  AND NOT EXISTS (SELECT FROM bookings WHERE ticket_id = letter.reissued_as)
                  AND NOT EXISTS (SELECT FROM deleted_rejections WHERE issued_until >= letter.resolved_at)",
    },
];

pub async fn problems(snapshot: &mut PgConnection) -> Result<Vec<Problem>, sqlx::Error> {
    let mut problems = Vec::new();
    for Rule { name, description, repair, action, query } in RULES {
        let counting = format!(
            "SELECT count(*), coalesce((array_agg(id::bigint ORDER BY id))[1:20], '{{}}') FROM ({query}) broken (id)"
        );
        let (count, first): (i64, Vec<i64>) =
            sqlx::query_as(AssertSqlSafe(counting)).fetch_one(&mut *snapshot).await?;
        if count > 0 {
            let count = count.unsigned_abs();
            let found = format!("{count} {description}: {}", listed(first, count));
            problems.push(Problem { rule: name, found, action: action.to_owned(), repair });
        }
    }
    Ok(problems)
}
