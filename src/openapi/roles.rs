//! Who may do what, as a table made of the operations.

use std::fmt::Write;

use super::operation::{Access, Operation};

/// A row for each operation: who may ask without a token and with each role, and what of it is whose token has a tenant.
pub fn roles_table(operations: &[Operation]) -> String {
    let mut table = "| request | | no token | viewer | operator | admin | with a tenant |\n".to_owned();
    table += "|---|---|---|---|---|---|---|\n";
    for operation in operations {
        let least = match operation.access {
            Access::Anybody => 0,
            Access::Buyer | Access::Viewer => 1,
            Access::Operator => 2,
            Access::Admin | Access::AdminOfAll => 3,
        };
        let takes_tenant = operation.parameters.iter().any(|parameter| parameter.name == "X-Tenant-ID");
        let with_tenant = match operation.access {
            Access::AdminOfAll => "–",
            _ if takes_tenant => "its own",
            _ => "all",
        };
        let (method, path) = (operation.method.as_str(), operation.path);
        let _ = write!(table, "| `{method} {path}` | {} |", operation.summary);
        for column in 0..4 {
            let _ = write!(table, " {} |", if column >= least { "yes" } else { "–" });
        }
        let _ = writeln!(table, " {with_tenant} |");
    }
    table
}
