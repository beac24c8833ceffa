//! Where in an input something is wrong.

use std::{borrow::Cow, fmt};

/// A field of what a farm is given, by its name in this crate. What it is called on a wire is for the wire to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Of a selector: [`alias`](crate::Selector::alias).
    Alias,
    /// Of a request: [`avoid`](crate::LeaseRequest::avoid).
    Avoid,
    /// Of a bot: its condition.
    Condition,
    /// Of a bot: its domain.
    Domain,
    /// Of a bot: its env.
    Env,
    /// Of a bot: its labels.
    Labels,
    /// Of a list: [`limit`](crate::PageRequest::limit).
    Limit,
    /// Of a bot or an operator: its login.
    Login,
    /// Of a token: its name.
    Name,
    /// Of a bot or an operator: its password.
    Password,
    /// Of a bot: its project.
    Project,
    /// Of a request: [`selectors`](crate::LeaseRequest::selectors).
    Selectors,
    /// Of a request or a renewal: its TTL.
    Ttl,
    /// What only somebody else has a name for: a setting, a header, a field that is not known.
    Other(Cow<'static, str>),
}

impl Field {
    /// What only somebody else has a name for.
    #[must_use]
    pub fn other(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Other(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Alias => "alias",
            Self::Avoid => "avoid",
            Self::Condition => "condition",
            Self::Domain => "domain",
            Self::Env => "env",
            Self::Labels => "labels",
            Self::Limit => "limit",
            Self::Login => "login",
            Self::Name => "name",
            Self::Password => "password",
            Self::Project => "project",
            Self::Selectors => "selectors",
            Self::Ttl => "ttl",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step into an input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a field.
    Field(Field),
    /// To an item of a list, counted from 0.
    Item(usize),
}

/// Where in an input something is wrong: the steps that lead there. None: all of it.
///
/// ```
/// # use botfarm_core::{Field, Location};
/// assert_eq!(Location::from(Field::Selectors).item(2).field(Field::Alias).to_string(), "selectors[2].alias");
/// assert_eq!(Location::row(2).field(Field::Login).to_string(), "row 3, login", "people count rows from 1");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Location(Vec<Step>);

impl Location {
    /// All of the input.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// A row of an import, counted from 0.
    #[must_use]
    pub fn row(row: usize) -> Self {
        Self(vec![Step::Item(row)])
    }

    /// A field of what is here.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.0.push(Step::Field(field));
        self
    }

    /// An item of what is here, counted from 0.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    /// The same place in an input of which this one is the row, counted from 0.
    #[must_use]
    pub fn in_row(mut self, row: usize) -> Self {
        self.0.insert(0, Step::Item(row));
        self
    }

    /// The same place in another row, counted from 0, of what has rows.
    #[must_use]
    pub fn moved_to_row(mut self, row: usize) -> Self {
        if let Some(Step::Item(first)) = self.0.first_mut() {
            *first = row;
        }
        self
    }

    /// The row of an import that it is in, counted from 0.
    #[must_use]
    pub fn as_row(&self) -> Option<usize> {
        match self.0.first() {
            Some(Step::Item(row)) => Some(*row),
            _ => None,
        }
    }

    /// The steps, from the outside in.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl From<Field> for Location {
    fn from(field: Field) -> Self {
        Self::whole().field(field)
    }
}

impl FromIterator<Step> for Location {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

/// `selectors[2].alias`; of a row of an import `row 3, login`. Nothing for all of the input.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (index, step) in self.0.iter().enumerate() {
            match step {
                // People count from one.
                Step::Item(row) if index == 0 => {
                    write!(f, "row {}", row.saturating_add(1))?;
                    between = ", ";
                }
                Step::Item(item) => {
                    write!(f, "[{item}]")?;
                    between = ".";
                }
                Step::Field(field) => {
                    write!(f, "{between}{field}")?;
                    between = ".";
                }
            }
        }
        Ok(())
    }
}
