//! Rows of JSON: in an array, or one a line.

use std::{
    fmt,
    io::{BufRead as _, Read},
};

use botfarm_core::{Error, Fault, Faults, Location, Result};
use serde::{
    Deserializer as _,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::Deserializer;

use super::{
    ROW, Reading, malformed,
    source::{Budget, Source, too_long},
};
use crate::json::Unique;

/// Reads an array, element by element.
pub(super) fn array<R: Read>(file: &mut Source<R>, rows: &mut Reading) -> Result<()> {
    let (budget, mut refusal, mut began) = (file.budget(), None, false);
    let mut deserializer = Deserializer::from_reader(file);
    let read = deserializer.deserialize_any(Array { rows, budget, refusal: &mut refusal, began: &mut began });
    let read = read.and_then(|()| deserializer.end());
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    read.map_err(|error| match error.io_error_kind() {
        // Whole JSON, but of another kind.
        None if !began && error.is_data() => Error::invalid(Location::whole(), "must be a JSON array"),
        None => malformed(format!("the file is not JSON: {error}")),
        Some(_) => malformed(error.to_string()),
    })
}

struct Array<'a> {
    rows: &'a mut Reading,
    budget: Budget,
    /// Why reading was broken off, if not for what JSON is.
    refusal: &'a mut Option<Error>,
    began: &'a mut bool,
}

impl<'de> Visitor<'de> for Array<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    /// Read to its end, to know whether it is JSON at all.
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(A::Error::invalid_type(Unexpected::Map, &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        *self.began = true;
        loop {
            self.budget.row(self.rows.count);
            let Some(Unique(row)) = items.next_element()? else { return Ok(()) };
            if let Err(error) = self.rows.row(None, Some(row), Faults::default()) {
                *self.refusal = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
    }
}

/// Reads one object a line. Empty lines are passed over.
pub(super) fn lines<R: Read>(file: &mut Source<R>, rows: &mut Reading) -> Result<()> {
    let (mut budget, mut text) = (file.budget(), Vec::new());
    for line in 1.. {
        budget.row(rows.count);
        text.clear();
        // Read past what is allowed of a row, to know that it is too long.
        let read = file.by_ref().take(ROW as u64 + 1).read_until(b'\n', &mut text);
        if read.map_err(|error| malformed(error.to_string()))? == 0 {
            break;
        }
        if text.len() > ROW {
            return Err(malformed(too_long(rows.count)));
        }
        let text = std::str::from_utf8(&text).map_err(|_| malformed("the file must be UTF-8"))?;
        if text.trim().is_empty() {
            continue;
        }
        let row = serde_json::from_str(text).ok().map(|Unique(row)| row);
        let fault = row.is_none().then(|| Fault::new(rows.at(), "is not JSON, or has a field twice"));
        rows.row(Some(line), row, fault.into_iter().collect())?;
    }
    Ok(())
}
