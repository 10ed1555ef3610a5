//! All checks, in one snapshot, and what they found.

use std::fmt;

use hamro_shared::domain::Timestamp;
use hamro_shared::epoch::{self, Epoch};
use serde::Serialize;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::problem::Problem;
use super::schema::{self, SchemaState};
use super::{objects, references, rows, sequences, server};

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// The moment of the snapshot.
    pub checked_at: Timestamp,
    pub epoch: Option<ShownEpoch>,
    /// How many rows of the tables were compared.
    pub rows: u64,
    pub problems: Vec<Problem>,
    /// What is legal and worth knowing.
    pub notes: Vec<String>,
    /// What this run has changed.
    pub done: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownEpoch {
    pub id: String,
    pub drawn_at: Timestamp,
    pub reason: String,
}

impl From<Epoch> for ShownEpoch {
    fn from(Epoch { id, drawn_at, reason }: Epoch) -> Self {
        Self { id: id.to_string(), drawn_at, reason }
    }
}

/// Checks everything in one snapshot, and changes nothing. If the schema is incomplete, only that.
pub async fn survey(connection: &mut PgConnection) -> Result<Survey, sqlx::Error> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let checked_at = sqlx::query_scalar("SELECT now()").fetch_one(&mut *snapshot).await?;
    let mut survey = Survey {
        checked_at,
        epoch: None,
        rows: 0,
        problems: Vec::new(),
        notes: Vec::new(),
        done: Vec::new(),
    };
    match schema::state(&mut snapshot).await? {
        SchemaState::Unusable(problem) => survey.problems.push(problem),
        SchemaState::Usable { problems, note } => {
            survey.problems.extend(problems);
            let mut are_rows_readable = true;
            // A newer schema may rightly lack what this version expects.
            if note.is_none() {
                let objects = objects::problems(&mut snapshot).await?;
                survey.problems.extend(objects.problems);
                are_rows_readable = objects.are_rows_readable;
            }
            survey.notes.extend(note);
            if are_rows_readable {
                survey.check_data(&mut snapshot).await?;
            } else {
                survey.notes.push("Rows were not compared, because of what is missing.".to_owned());
            }
        }
    }
    snapshot.commit().await?;
    Ok(survey)
}

impl Survey {
    async fn check_data(&mut self, snapshot: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.epoch = epoch::current(snapshot).await?.map(ShownEpoch::from);
        if self.epoch.is_none() {
            self.problems.push(Problem::to_decide(
                "epoch",
                "the table installation_epoch is empty".to_owned(),
                "Run with --after-restore, which draws a new epoch.",
            ));
        }
        self.problems.extend(server::problems(snapshot).await?);
        self.notes.extend(server::notes(snapshot).await?);
        self.problems.extend(sequences::problems(snapshot).await?);
        self.problems.extend(references::problems(snapshot).await?);
        let (rows, problems) = rows::check(snapshot).await?;
        self.rows = rows;
        self.problems.extend(problems);
        Ok(())
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for done in &self.done {
            writeln!(f, "DONE   {done}")?;
        }
        if let Some(ShownEpoch { id, drawn_at, reason }) = &self.epoch {
            writeln!(f, "Epoch {id}, drawn at {drawn_at} by a {reason}.")?;
        }
        writeln!(f, "Checked {} rows in a snapshot of {}.", self.rows, self.checked_at)?;
        for note in &self.notes {
            writeln!(f, "NOTE   {note}")?;
        }
        for Problem { rule, found, action, .. } in &self.problems {
            writeln!(f, "WRONG  {rule}: {found}")?;
            writeln!(f, "       {action}")?;
        }
        let repairable = self.problems.iter().filter(|problem| problem.repair.is_some()).count();
        match (self.problems.len(), repairable) {
            (0, _) => write!(f, "Nothing is wrong."),
            (1, repairable) => write!(f, "1 problem, {repairable} of which --repair can repair."),
            (count, repairable) => write!(f, "{count} problems, {repairable} of which --repair can repair."),
        }
    }
}
