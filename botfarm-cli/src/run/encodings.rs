//! The forms in which a command may print a text.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// The fewest characters that an encoding in base64 is looked for with: shorter ones are found everywhere by chance.
const SHORTEST: usize = 6;

/// The forms that are known of a text: as it is, in JSON and in a program's source, in a URL, in a form, in HTML, and
/// within anything that is encoded in base64.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    let json = quoted(text);
    // Python's JSON, and others, write nothing but ASCII; PHP's also escapes slashes.
    forms.extend([ascii(&json), json.replace('/', "\\/"), ascii(&json).replace('/', "\\/"), json]);
    // repr of Python, inspect of JavaScript, Debug of Rust: between either kind of quotes.
    for quote in ['\'', '"'] {
        let mut repr = String::new();
        for each in text.chars() {
            match each {
                '\\' => repr.push_str("\\\\"),
                '\n' => repr.push_str("\\n"),
                '\r' => repr.push_str("\\r"),
                '\t' => repr.push_str("\\t"),
                _ if each == quote => repr.extend(['\\', quote]),
                _ => repr.push(each),
            }
        }
        forms.push(repr);
    }
    // A shell's way to have a quote within quotes.
    forms.extend([text.replace('\'', "'\\''"), text.replace('\'', "'\"'\"'")]);
    // RFC 3986, and what browsers and languages leave as it is beyond that; in a form, spaces are +.
    for kept in ["-._~", "-._~!'()*", "-._*", "-._~!$&'()*+,;=:@", "-._~/"] {
        for is_upper in [true, false] {
            let url = percent(text, kept, is_upper);
            forms.extend([url.replace("%20", "+"), url]);
        }
    }
    for (double, single) in
        [("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "'"), ("\"", "'")]
    {
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        forms.push(html.replace('"', double).replace('\'', single));
    }
    forms.extend((0..3).flat_map(|offset| base64(text, offset)));
    forms.retain(|form| !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// As it stands inside a JSON string.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same in ASCII alone.
fn ascii(json: &str) -> String {
    let mut ascii = String::new();
    for each in json.chars() {
        if each.is_ascii() {
            ascii.push(each);
        } else {
            for unit in each.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

fn percent(text: &str, kept: &str, is_upper: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let each = char::from(byte);
        let _ = match each {
            _ if each.is_ascii_alphanumeric() || kept.contains(each) => write!(encoded, "{each}"),
            _ if is_upper => write!(encoded, "%{byte:02X}"),
            _ => write!(encoded, "%{byte:02x}"),
        };
    }
    encoded
}

/// What a text is in base64 wherever `offset` bytes, and any number of three, are before it: the characters that depend
/// on nothing else, and those that it ends with where nothing is after it. In both alphabets.
fn base64(text: &str, offset: usize) -> impl Iterator<Item = String> {
    let bytes = [&[0; 2][..offset], text.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    let (from, to) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    let forms = [to, encoded.len()].into_iter().filter_map(move |to| encoded.get(from..to).map(str::to_owned));
    let forms = forms.filter(|own| own.len() >= SHORTEST);
    forms.flat_map(|own| [own.replace('+', "-").replace('/', "_"), own])
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "p\"a's/s w\\o&r<d>é+?~\u{1f511}";

    #[test]
    fn a_text_is_known_in_json_and_in_source() {
        for form in [
            SECRET,
            r#"p\"a's/s w\\o&r<d>é+?~🔑"#,
            r#"p\"a's/s w\\o&r<d>\u00e9+?~\ud83d\udd11"#,
            r#"p\"a's\/s w\\o&r<d>\u00e9+?~\ud83d\udd11"#,
            r#"p"a\'s/s w\\o&r<d>é+?~🔑"#,
            r#"p"a'\''s/s w\o&r<d>é+?~🔑"#,
        ] {
            assert!(of(SECRET).iter().any(|known| known == form), "{form}");
        }
    }

    #[test]
    fn a_text_is_known_in_urls_forms_and_html() {
        for form in [
            "p%22a%27s%2Fs%20w%5Co%26r%3Cd%3E%C3%A9%2B%3F~%F0%9F%94%91",
            "p%22a%27s%2fs%20w%5co%26r%3cd%3e%c3%a9%2b%3f~%f0%9f%94%91",
            "p%22a's%2Fs%20w%5Co%26r%3Cd%3E%C3%A9%2B%3F~%F0%9F%94%91",
            "p%22a%27s%2Fs+w%5Co%26r%3Cd%3E%C3%A9%2B%3F%7E%F0%9F%94%91",
            "p&quot;a&#39;s/s w\\o&amp;r&lt;d&gt;é+?~🔑",
            "p&quot;a&#x27;s/s w\\o&amp;r&lt;d&gt;é+?~🔑",
            "p\"a's/s w\\o&amp;r&lt;d&gt;é+?~🔑",
        ] {
            assert!(of(SECRET).iter().any(|known| known == form), "{form}");
        }
    }

    #[test]
    fn a_text_is_known_within_anything_in_base64() {
        for (before, after) in
            ["", "x", "xy", "xyz", "ada:"].into_iter().flat_map(|b| ["", ".", "..", "..."].map(|a| (b, a)))
        {
            let whole = format!("{before}{SECRET}{after}");
            for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                let longest =
                    of(SECRET).into_iter().filter(|form| encoded.contains(form.as_str())).map(|form| form.len());
                // All but the characters that also depend on what is around it.
                let longest = longest.max().unwrap_or_default();
                assert!(longest + 2 >= SECRET.len() * 8 / 6, "{longest} characters of {encoded}");
            }
        }
        assert!(
            of("abc").iter().all(|form| form == "abc"),
            "what is short is not looked for in base64: {:?}",
            of("abc")
        );
    }
}
