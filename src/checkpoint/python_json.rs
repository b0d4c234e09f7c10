//! JSON as Python's `json` module reads and writes it: with the bare words `NaN`, `Infinity` and
//! `-Infinity`, which some `config.json` files hold and strict parsers refuse.
//!
//! They travel through a strict parser as strings with a private-use mark that no config contains.

use serde_json::Value;

const MARK: char = '\u{F8FE}';
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses JSON in which numbers may be `NaN` or infinite.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&mark_words(text))
}

/// Writes JSON indented by `indent`, bare words restored.
pub fn to_string_pretty(value: &Value, indent: &str) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("a JSON value is always JSON");
    let mut text = String::from_utf8(bytes).expect("JSON text is UTF-8");
    if text.contains(MARK) {
        for word in WORDS {
            text = text.replace(&format!("\"{MARK}{word}\""), word);
        }
    }
    text
}

fn mark_words(text: &str) -> String {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let word = WORDS.into_iter().find(|word| !in_string && rest.starts_with(word));
        let taken = if let Some(word) = word {
            marked.extend(['"', MARK]);
            marked.push_str(word);
            marked.push('"');
            word.len()
        } else if in_string && c == '\\' {
            let escape_len = c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8);
            marked.push_str(&rest[..escape_len]);
            escape_len
        } else {
            in_string ^= c == '"';
            marked.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_survive_and_strings_stay_as_they_are() {
        let text = "{\n  \"limit\": [\n    0.0,\n    Infinity,\n    -Infinity,\n    NaN\n  ],\n  \
                    \"NaN\": \"a \\\" NaN Infinity \\\\\",\n  \"eps\": 1e-06\n}";
        assert_eq!(to_string_pretty(&parse(text).unwrap(), "  "), text);
    }

    #[test]
    fn broken_text_is_an_error_and_not_a_panic() {
        for text in ["", "\"", "\"\\", "{\"a\":Infinit}", "{NaN:1}\\", "\u{F8FE}", "[-Infinity"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
