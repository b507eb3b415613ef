//! Changes to a scenario from the command line.

/// Applies `path.to.0.key=value`; the value is TOML, or else taken as a string.
pub fn set(table: &mut toml::Value, assignment: &str) -> Result<(), String> {
    let (path, text) = assignment.split_once('=').ok_or("must be KEY=VALUE")?;
    let (parent, last) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
    let mut here = table;
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        here = match here {
            toml::Value::Table(table) => {
                table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()))
            }
            toml::Value::Array(items) => {
                let index: usize = part.parse().map_err(|_| format!("{part} is not an index"))?;
                items.get_mut(index).ok_or(format!("there is no item {index}"))?
            }
            _ => return Err(format!("{part} lies below a plain value")),
        };
    }
    let value = toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    match here {
        toml::Value::Table(table) => table.insert(last.to_owned(), value),
        _ => return Err(format!("{last} lies below a plain value")),
    };
    Ok(())
}
