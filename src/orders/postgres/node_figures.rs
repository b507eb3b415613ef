//! What the nodes tell each other for whoever watches, in rows of an unlogged table: one a node, written while somebody watches
//! at any of them.

use tokio_postgres::Row;

use super::super::node_figures::{OwnFigures, ToldFigures};
use super::error::PgError;
use super::lease_store::node_of;
use super::rows::column;
use super::session::Session;
use crate::domain::NodeId;

/// By the server's clock alone: who has told nothing for so long is not asked about any more, and a node is watched for so long
/// after it said so.
const FRESH: &str = "interval '5 s'";

/// Tells what this node has to tell, if anything, and answers with what the others have told, by number.
pub(super) async fn exchange(
    session: &mut Session,
    node: NodeId,
    own: Option<&OwnFigures>,
) -> Result<Vec<ToldFigures>, PgError> {
    let node: i16 = column(node.number());
    if let Some(OwnFigures { is_watched, figures }) = own {
        let tell = format!(
            "INSERT INTO node_figures (node, told_at, watched_until, figures) VALUES ($1, clock_timestamp(), \
             clock_timestamp() + CASE WHEN $2 THEN {FRESH} ELSE interval '0' END, $3) ON CONFLICT (node) DO UPDATE \
             SET told_at = excluded.told_at, watched_until = excluded.watched_until, figures = excluded.figures"
        );
        session.rows(&tell, &[&node, is_watched, figures]).await?;
    }
    let told = format!(
        "SELECT node, watched_until > clock_timestamp(), figures FROM node_figures \
         WHERE node <> $1 AND told_at > clock_timestamp() - {FRESH} ORDER BY node"
    );
    let figures = |row: &Row| {
        Ok(ToldFigures {
            node: node_of(row.try_get(0)?)?,
            is_watched: row.try_get(1)?,
            figures: row.try_get(2)?,
        })
    };
    session.rows(&told, &[&node]).await?.iter().map(figures).collect()
}
