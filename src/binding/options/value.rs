//! A JavaScript value as the options' parser sees it: plain data, read once.

use codes::error::{ConfigError, quote};
use napi::bindgen_prelude::{JsObjectValue as _, JsValue as _, Object, Uint8Array, Unknown};
use napi::{KeyCollectionMode, KeyConversion, KeyFilter, ValueType};

/// Most elements of an array that are read.
const MAX_ELEMENTS: u32 = 1024;

/// A JavaScript value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Undefined,
    Flag(bool),
    Number(f64),
    Text(String),
    Bytes(Vec<u8>),
    Function,
    List(Vec<Value>),
    /// Too long to be read; the number of elements.
    LongList(u32),
    /// The members that the table knows and that are not undefined, and whatever other members of its own it has.
    Object(Vec<(String, Value)>),
    /// A value that no option takes: its description.
    Other(&'static str),
}

/// The fault of a refused value.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It has another type.
    Type,
    /// It has the type but isn't permitted.
    Value,
    /// This says it better.
    Error(ConfigError),
}

impl From<ConfigError> for Wrong {
    fn from(error: ConfigError) -> Self {
        Self::Error(error)
    }
}

/// Says of the option with a path what it takes, unless it took what it got.
pub(super) fn explain(
    result: Result<(), Wrong>,
    path: &str,
    expected: &str,
    got: &str,
) -> Result<(), ConfigError> {
    result.map_err(|wrong| match wrong {
        Wrong::Type => ConfigError::invalid(path, expected, got),
        Wrong::Value => ConfigError::out_of_range(path, expected, got),
        Wrong::Error(error) => error,
    })
}

impl Value {
    pub(super) fn text(self) -> Result<String, Wrong> {
        if let Self::Text(text) = self { Ok(text) } else { Err(Wrong::Type) }
    }

    pub(super) fn non_empty(self) -> Result<String, Wrong> {
        self.text().and_then(|text| if text.is_empty() { Err(Wrong::Value) } else { Ok(text) })
    }

    pub(super) fn flag(self) -> Result<bool, Wrong> {
        if let Self::Flag(flag) = self { Ok(flag) } else { Err(Wrong::Type) }
    }

    pub(super) fn object(self) -> Result<(), Wrong> {
        if let Self::Object(_) = self { Ok(()) } else { Err(Wrong::Type) }
    }

    pub(super) fn function(self) -> Result<(), Wrong> {
        if self == Self::Function { Ok(()) } else { Err(Wrong::Type) }
    }

    pub(super) fn bytes(self) -> Result<Vec<u8>, Wrong> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Wrong::Type),
        }
    }

    pub(super) fn texts(self) -> Result<Vec<String>, Wrong> {
        match self {
            Self::List(list) => list.into_iter().map(Self::text).collect(),
            Self::LongList(_) => Err(Wrong::Value),
            _ => Err(Wrong::Type),
        }
    }

    /// A string that is not empty, or a list of such that is not empty.
    pub(super) fn one_or_more(self) -> Result<Vec<String>, Wrong> {
        let texts = if let Self::Text(text) = self { vec![text] } else { self.texts()? };
        if texts.is_empty() || texts.iter().any(String::is_empty) { Err(Wrong::Value) } else { Ok(texts) }
    }

    /// A whole number in this range; no option takes one beyond 2^53.
    pub(super) fn integer(self, min: u64, max: u64) -> Result<u64, Wrong> {
        let Self::Number(number) = self else { return Err(Wrong::Type) };
        // False for NaN. Within the range the cast is exact.
        let fits = number >= min as f64 && number <= max as f64 && number.fract() == 0.0;
        if fits { Ok(number as u64) } else { Err(Wrong::Value) }
    }

    /// The text that an error message shows of it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Undefined => "undefined".to_owned(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) if number.is_infinite() => {
                if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
            }
            // Digits without end would be no help.
            Self::Number(number) if number.abs() >= 1e21 => format!("{number:e}"),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quote(text),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Function => "a function".to_owned(),
            Self::List(list) if list.is_empty() => "an empty array".to_owned(),
            Self::List(list) => {
                // The first that can't be right tells most.
                let odd = list.iter().find(|item| !matches!(item, Self::Text(text) if !text.is_empty()));
                format!("an array with {}", odd.or(list.first()).map_or_else(String::new, Self::kind))
            }
            Self::LongList(length) => format!("an array of {length} elements"),
            Self::Object(_) => "an object".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    /// The text that an error message shows of it if it may be a secret.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Text(text) if text.is_empty() => "an empty string".to_owned(),
            Self::Text(_) => "a string".to_owned(),
            Self::List(_) => "an array".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            other => other.describe(),
        }
    }
}

/// The members of an object that options are read from.
#[derive(Default)]
pub(super) struct Known {
    /// Their names.
    pub(super) names: Vec<&'static str>,
    /// Set if it may have any others. A member has the members of the option with this path.
    pub(super) others: Option<&'static str>,
}

/// Gives the members of the option with a path.
pub(super) type Members = dyn Fn(&str) -> Known;

/// Reads a value and, as far as the table has members for it, what is in it. An exception that a getter or a proxy
/// throws comes back as `Status::PendingException` and goes on to the caller as it is.
pub(super) fn read(value: Unknown<'_>, path: &str, members: &Members) -> napi::Result<Value> {
    Ok(match value.get_type()? {
        ValueType::Undefined => Value::Undefined,
        ValueType::Null => Value::Other("null"),
        ValueType::Boolean => Value::Flag(value.coerce_to_bool()?),
        ValueType::Number => Value::Number(value.coerce_to_number()?.get_double()?),
        ValueType::String => {
            let text = value.coerce_to_string()?.into_utf8()?.take();
            Value::Text(String::from_utf8_lossy(&text).into_owned())
        }
        ValueType::Function => Value::Function,
        ValueType::BigInt => Value::Other("a BigInt"),
        ValueType::Symbol => Value::Other("a symbol"),
        ValueType::Object if value.is_array()? => read_list(&value.coerce_to_object()?)?,
        ValueType::Object if !is_plain(&value)? => Value::Other("an object of a built-in class"),
        ValueType::Object if is_collection(&value.coerce_to_object()?)? => {
            Value::Other("a Map, a Set or the like")
        }
        ValueType::Object => read_members(&value.coerce_to_object()?, path, members)?,
        _ => Value::Other("a value of an unknown type"),
    })
}

fn is_plain(value: &Unknown<'_>) -> napi::Result<bool> {
    Ok(!(value.is_typedarray()?
        || value.is_dataview()?
        || value.is_arraybuffer()?
        || value.is_date()?
        || value.is_promise()?))
}

/// True for an object with entries that are no properties: as an object it would look empty.
fn is_collection(object: &Object<'_>) -> napi::Result<bool> {
    Ok(object.has_named_property("forEach")? && object.has_named_property("has")?)
}

fn read_list(list: &Object<'_>) -> napi::Result<Value> {
    let length = list.get_array_length()?;
    if length > MAX_ELEMENTS {
        return Ok(Value::LongList(length));
    }
    let read_element = |index| read(list.get_element(index)?, "", &|_| Known::default());
    Ok(Value::List((0..length).map(read_element).collect::<napi::Result<_>>()?))
}

fn read_members(object: &Object<'_>, path: &str, members: &Members) -> napi::Result<Value> {
    let Known { names, others } = members(path);
    let mut found = Vec::new();
    if names.is_empty() {
        return Ok(Value::Object(found));
    }
    // Own keys of the object beyond the table; those that it inherits may be somebody's polyfill.
    let own = object.get_all_property_names(
        KeyCollectionMode::OwnOnly,
        KeyFilter::Enumerable,
        KeyConversion::NumbersToStrings,
    )?;
    for index in 0..own.get_array_length()? {
        let key: Unknown<'_> = own.get_element(index)?;
        // A symbol is no option, but no slip of the pen either.
        let Value::Text(name) = read(key, "", &|_| Known::default())? else { continue };
        match others {
            Some(inner) if found.len() < MAX_ELEMENTS as usize => {
                let value = read(object.get_property_unchecked(key)?, inner, members)?;
                found.push((name, value));
            }
            None if !names.contains(&name.as_str()) => {
                // One is enough for an error.
                return Ok(Value::Object(vec![(name, Value::Undefined)]));
            }
            _ => {}
        }
    }
    for name in names {
        if found.iter().any(|(known, _)| known == name) {
            continue;
        }
        let value: Unknown<'_> = object.get_named_property_unchecked(name)?;
        let full = join(path, name);
        let value = if value.get_type()? == ValueType::Object && value.is_typedarray()? {
            // The only way to the bytes without `unsafe`; of another array it is the type that is wrong.
            match object.get_named_property::<Uint8Array>(name) {
                Ok(bytes) => Value::Bytes(bytes.to_vec()),
                Err(error) if error.status == napi::Status::PendingException => return Err(error),
                Err(_) => Value::Other("a typed array other than Uint8Array"),
            }
        } else {
            read(value, &full, members)?
        };
        found.push((name.to_owned(), value));
    }
    found.retain(|(_, value)| *value != Value::Undefined);
    Ok(Value::Object(found))
}

/// The full path of a member.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
