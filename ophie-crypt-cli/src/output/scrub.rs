//! Takes passwords, and what a terminal would act upon, out of whatever is about to be printed: the last net, below all
//! care taken before.

/// What stands in a password's place.
const IN_PLACE: &str = "***";
/// A shorter secret is not looked for: it would be found in words.
const SHORTEST: usize = 4;

/// Secrets that are known.
#[derive(Clone, Default)]
pub(crate) struct Scrub(Vec<String>);

impl Scrub {
    /// And this URL's password, as it stands there and as it is meant.
    pub(crate) fn add_url(&mut self, url: &str) {
        // A server takes a password with `/`, `?` or `#` in it for something else, and prints it.
        let authority = url.split_once("://").and_then(|(scheme, rest)| {
            let authority = rest.split(['/', '?', '#']).next()?;
            Some(format!("{scheme}://{authority}"))
        });
        for password in [authority.as_deref().and_then(password), password(url)] {
            for secret in password
                .iter()
                .flat_map(|password| [(*password).to_owned(), decoded(password)])
            {
                if secret.len() >= SHORTEST && !self.0.contains(&secret) {
                    self.0.push(secret);
                }
            }
        }
        self.0
            .sort_by_key(|secret| core::cmp::Reverse(secret.len()));
    }

    /// The text without secrets, and without what a terminal would act upon: rows are not trusted.
    pub(crate) fn text(&self, text: &str) -> String {
        let shown = |c: char| match c.is_control() && c != '\n' {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        };
        let mut text: String = without_passwords(text).chars().map(shown).collect();
        for secret in &self.0 {
            text = text.replace(secret, IN_PLACE);
        }
        text
    }
}

/// What stands between the user and the last `@`: rather too much than too little.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let whole = rest.split([' ', '\n', '"', '\'', '`']).next()?;
    let (user, _) = whole.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

/// Every URL in the text, also one that nobody told of.
fn without_passwords(text: &str) -> String {
    let mut pieces = text.split("://");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str("://");
        let url = format!("://{piece}");
        match password(&url) {
            Some(password) => {
                out.push_str(&piece.replacen(&format!(":{password}@"), &format!(":{IN_PLACE}@"), 1))
            }
            None => out.push_str(piece),
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut hex = String::new();
            hex.extend(rest.by_ref().take(2).map(char::from));
            bytes.extend(u8::from_str_radix(&hex, 16));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_and_all_else_stays() {
        let mut scrub = Scrub::default();
        scrub.add_url("postgres://ada:s%65cret%21@host:5432/app?x=y");
        for (text, without) in [
            ("secret! was wrong", "*** was wrong"),
            ("s%65cret%21", "***"),
            (
                "no `mysql://bob:other@h/d` here",
                "no `mysql://bob:***@h/d` here",
            ),
            ("postgres://ada@host/app", "postgres://ada@host/app"),
            ("'x://ada:a/b?c#d@host/app'", "'x://ada:***@host/app'"),
            ("a@b: c://d", "a@b: c://d"),
            ("\u{1b}[2J\u{7f}\n", "\\u{1b}[2J\\u{7f}\n"),
        ] {
            assert_eq!(scrub.text(text), without);
        }
    }
}
