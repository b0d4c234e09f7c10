//! What stands around the view: what is wanted, what it costs, what is selected, what is going on.

mod embeddings;
mod findings;
mod recipe;
mod rules;
mod selection;
mod size;
mod status;

pub use recipe::recipe_ui;
pub use selection::{Wish, selection_ui, set_all, set_selection};
pub use size::size_ui;
pub use status::status_ui;
