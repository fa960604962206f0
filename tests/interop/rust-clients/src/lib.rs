//! Reads commands, one JSON object a line, and writes what each gives, one line each: `{"done": …}` or `{"failed": "…"}`.

use std::io::{self, BufRead, Write};

use serde_json::{json, Value};

/// A command: its fields by name.
pub struct Command(Value);

impl Command {
    /// A text, or the empty one.
    pub fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap_or_default().to_owned()
    }

    /// One of the toxic's attributes, or 0.
    pub fn attribute(&self, name: &str) -> u32 {
        let number = self.0["attributes"][name].as_u64().unwrap_or_default();
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

/// Carries out each command until standard input ends.
pub fn serve(mut carry_out: impl FnMut(&Command) -> Result<Value, String>) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let command = Command(serde_json::from_str(&line?)?);
        let answer = match carry_out(&command) {
            Ok(value) => json!({ "done": value }),
            Err(why) => json!({ "failed": why }),
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}
