//! What the agent does when a sale ends: it lends nothing of it any more, and the sale's book is forgotten.
//!
//! Every node forgets the book of a sale that it has lent, for it may have opened one right before the sale ended. Which books
//! nobody has forgotten yet stands in the store, so that those of an engine that died meanwhile are forgotten by the others,
//! or by the next one that starts.

use super::watch::LeaseWatch;
use super::{AgentError, GROUP, LeaseAgent};
use crate::domain::SaleId;

impl<W: LeaseWatch> LeaseAgent<W> {
    /// The sale has left the board, or is about to. Who waits for something about it hears that nobody answers.
    pub(super) fn let_go(&mut self, sale: SaleId) {
        self.accounts.remove(&sale);
        self.schedule.forget(sale);
        self.apart.remove(&sale);
        self.calling.remove(&sale);
        self.watch.ended(sale);
        self.ended.insert(sale);
        self.has_left_books = true;
    }

    /// Forgets the books of sales that have ended, as many as go together. What is not heard of is done again at the next look.
    pub(super) async fn forget_books(&mut self) -> Result<(), AgentError> {
        if !self.has_left_books {
            return Ok(());
        }
        let ended: Vec<SaleId> = self.ended.iter().copied().take(GROUP).collect();
        let asked = ended.clone();
        let left = self.ask_store(move |store| store.left_books(&asked, GROUP)).await?;
        for book in &left {
            self.books.forget(&book.key, book.last_epoch).await?;
        }
        let forgotten: Vec<SaleId> = left.iter().map(|book| book.sale).collect();
        if !forgotten.is_empty() {
            let forgotten = forgotten.clone();
            self.ask_store(move |store| store.books_forgotten(&forgotten)).await?;
        }
        let there_are_more = left.len() == GROUP;
        // Of those that were asked about and are not there, there is nothing to forget.
        let done = if there_are_more { forgotten } else { ended };
        self.ended.retain(|sale| !done.contains(sale));
        self.has_left_books = there_are_more || !self.ended.is_empty();
        Ok(())
    }
}
