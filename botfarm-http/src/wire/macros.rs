//! Requests, each written once.

/// A request of the API, or a part of one, written once: its struct, its JSON, its schema, and how the service reads it.
///
/// After each field stands how it is read:
/// - `required`: without it, the request is refused;
/// - `optional`: missing or null, it is `None`;
/// - `default`, or `or(value)`: missing or null, it is that;
/// - `flag`: missing or null, it is false; in a query it is a word;
/// - `list(most, "items")`: up to so many of what is itself such a struct.
///
/// A field that is called otherwise on the wire has that name before its type: `alias "as": …`.
macro_rules! request {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident {
            $($(#[$field_meta:meta])* $field:ident $($wire:literal)?: $type:ty = $how:ident $(($($with:expr),+))?,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $struct {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        #[cfg(feature = "server")]
        impl crate::fields::Read for $struct {
            fn take(fields: &mut crate::fields::Fields) -> Option<Self> {
                // All of them, before the first that is missing ends it: every fault is to be named.
                $(let $field = request!(@$how fields, request!(@name $field $($wire)?) $($(, $with)+)?);)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (@required $fields:ident, $name:expr) => { $fields.required($name) };
    (@optional $fields:ident, $name:expr) => { Some($fields.optional($name)) };
    (@default $fields:ident, $name:expr) => { Some($fields.optional($name).unwrap_or_default()) };
    (@flag $fields:ident, $name:expr) => { Some($fields.flag($name)) };
    (@or $fields:ident, $name:expr, $default:expr) => { Some($fields.optional($name).unwrap_or($default)) };
    (@list $fields:ident, $name:expr, $most:expr, $items:expr) => { $fields.list($name, $most, $items) };
}

pub(crate) use request;
