//! A command line in one text.

/// Splits a command line into words at blanks, with quotes and backslashes as in a shell. Nothing else is as in a shell:
/// there are no variables, patterns, pipes or redirections, and none is run.
///
/// # Errors
/// What is wrong and what would be right: a quote that is not closed, or no word at all.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    // `None` between words: '' is a word too.
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            quote @ ('\'' | '"') => quoted(quote, &mut letters, word.get_or_insert_default())?,
            '\\' => {
                let escaped = letters.next().ok_or("ends with a backslash; write \\\\ for one")?;
                word.get_or_insert_default().push(escaped);
            }
            '\0' => return Err("has a NUL character, which no command can; remove it".into()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err("names no program; write a command line such as python3 serve.py --threads 4".into());
    }
    Ok(words)
}

/// Takes letters to the end of a quotation; within double quotes a backslash makes `"` and `\` ordinary.
fn quoted(quote: char, letters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    loop {
        match letters.next() {
            None => return Err(format!("has a {quote} that is not closed; close it, or write \\{quote}")),
            Some('\0') => return Err("has a NUL character, which no command can; remove it".into()),
            Some(end) if end == quote => return Ok(()),
            Some('\\') if quote == '"' => match letters.next() {
                Some(escaped @ ('"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => {}
            },
            Some(other) => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_shell() {
        let cases: &[(&str, &[&str])] = &[
            ("serve", &["serve"]),
            ("  serve  --port 80\n", &["serve", "--port", "80"]),
            ("sh -c 'echo \"$PORT\" | cat'", &["sh", "-c", "echo \"$PORT\" | cat"]),
            (r#"a "b \"c\" \\ \n" d"#, &["a", r#"b "c" \ \n"#, "d"]),
            (r"a\ b c\'d", &["a b", "c'd"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            ("modèle --größe", &["modèle", "--größe"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), *expected, "{text}");
        }
        let bad = [
            ("", "names no program"),
            (" \t", "names no program"),
            ("'' a", "names no program"),
            ("a 'b", "has a ' that is not closed"),
            ("a \"b\\", "has a \" that is not closed"),
            ("a \\", "ends with a backslash"),
            ("a\0", "has a NUL character"),
            ("'a\0'", "has a NUL character"),
        ];
        for (text, why) in bad {
            let error = words(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
