//! Text to tokens: sections 2.2 to 2.4.

use super::ast::{Arithmetic, Compare};

/// A token and the byte at which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) at: usize,
    pub(super) kind: TokenKind<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind<'a> {
    /// Letters, digits and underscores: a keyword, a name, a function or an unsigned integer.
    Word(&'a str),
    /// A string literal, with its quote's escape resolved.
    String(Box<str>),
    LeftParenthesis,
    RightParenthesis,
    Comma,
    Compare(Compare),
    Arithmetic(Arithmetic),
    End,
}

/// Where a text stops being tokens, and why.
pub(super) type LexError = (usize, String);

/// Reads tokens one by one.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, LexError> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\r', '\n']);
        let at = self.text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            self.at = at;
            return Ok(Token { at, kind: TokenKind::End });
        };
        let (kind, length) = match first {
            '\'' | '"' => string(rest, first).map_err(|message| (at, message))?,
            _ if is_word(first) => {
                let length = rest.find(|next| !is_word(next)).unwrap_or(rest.len());
                (TokenKind::Word(&rest[..length]), length)
            }
            _ => symbol(rest).ok_or_else(|| (at, unknown(first)))?,
        };
        self.at = at + length;
        Ok(Token { at, kind })
    }
}

const fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn symbol<'a>(rest: &str) -> Option<(TokenKind<'a>, usize)> {
    const SYMBOLS: [(&str, TokenKind<'static>); 16] = [
        ("!=", TokenKind::Compare(Compare::NotEqual)),
        ("<>", TokenKind::Compare(Compare::NotEqual)),
        ("<=", TokenKind::Compare(Compare::LessOrEqual)),
        (">=", TokenKind::Compare(Compare::GreaterOrEqual)),
        ("==", TokenKind::End),
        ("=", TokenKind::Compare(Compare::Equal)),
        ("<", TokenKind::Compare(Compare::Less)),
        (">", TokenKind::Compare(Compare::Greater)),
        ("*", TokenKind::Arithmetic(Arithmetic::Multiply)),
        ("/", TokenKind::Arithmetic(Arithmetic::Divide)),
        ("%", TokenKind::Arithmetic(Arithmetic::Remainder)),
        ("+", TokenKind::Arithmetic(Arithmetic::Add)),
        ("-", TokenKind::Arithmetic(Arithmetic::Subtract)),
        ("(", TokenKind::LeftParenthesis),
        (")", TokenKind::RightParenthesis),
        (",", TokenKind::Comma),
    ];
    let (text, kind) = SYMBOLS.iter().find(|(text, _)| rest.starts_with(text))?;
    (*kind != TokenKind::End).then(|| (kind.clone(), text.len()))
}

fn unknown(character: char) -> String {
    match character {
        '=' => "`==` is not an operator; write `=`".to_owned(),
        '!' => "`!` is not an operator; write `NOT`, or `!=` to compare".to_owned(),
        '&' => "`&` is not an operator; write `AND`".to_owned(),
        '|' => "`|` is not an operator; write `OR`".to_owned(),
        other => format!("`{}` has no meaning here; quote text with `'` or `\"`", other.escape_default()),
    }
}

/// A string literal in `quote`s: a backslash before the quote makes it part of the text; every other backslash stays as it is
/// (`LIKE` has a use for it).
fn string<'a>(rest: &str, quote: char) -> Result<(TokenKind<'a>, usize), String> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Ok((TokenKind::String(text.into()), at + quote.len_utf8()));
        }
        if character != '\\' {
            text.push(character);
            continue;
        }
        let Some((_, escaped)) = characters.next() else { break };
        if escaped != quote {
            text.push('\\');
        }
        text.push(escaped);
    }
    Err(format!("the string is not closed; end it with `{quote}`"))
}
