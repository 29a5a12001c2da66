//! Serde and JSON Schema forms for types that are parsed from text.

/// Implements `Serialize`, `Deserialize` and `JsonSchema` through `Display` and `FromStr`.
///
/// The pattern goes into the JSON Schema; `FromStr` checks the text. The last argument is for a
/// type without `Display`.
macro_rules! text_form {
    ($type:ty, $name:literal, $pattern:literal) => {
        $crate::text_form::text_form!($type, $name, $pattern, |value| value);
    };
    ($type:ty, $name:literal, $pattern:literal, |$value:ident| $shown:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.collect_str(&$shown)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($name)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub(crate) use text_form;
