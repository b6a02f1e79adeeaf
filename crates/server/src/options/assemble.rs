//! One JSON schema (draft 2020-12) out of the options of all crates: what `check` validates with, and
//! what editors read from `config/schema.json`.

use portreeve_session::{AuditOptions, GroupOptions, LimitsOptions};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value as Json, json};

use super::{
    AUTH, Family, LISTENER, LogOptions, MetricsOptions, RoleOptions, STORAGE, ServerOptions, SpoolOptions,
    StoreOptions, TlsOptions,
};

/// The schema of the whole file.
#[must_use]
pub fn schema() -> Json {
    let mut listeners = list_of(&LISTENER, "The doors: address, protocol and its options.");
    set(&mut listeners, "minItems", json!(1));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portreeve",
        "description": "The configuration of a Portreeve server.",
        "type": "object",
        "additionalProperties": false,
        "required": ["listener", "auth"],
        "properties": {
            "server": schema_of::<ServerOptions>(),
            "store": schema_of::<StoreOptions>(),
            "spool": schema_of::<SpoolOptions>(),
            "tls": schema_of::<TlsOptions>(),
            "limits": schema_of::<LimitsOptions>(),
            "audit": schema_of::<AuditOptions>(),
            "metrics": schema_of::<MetricsOptions>(),
            "log": schema_of::<LogOptions>(),
            "listener": listeners,
            "auth": list_of(&AUTH, "The chain that lets people in, in this order."),
            "groups": tables_of(&schema_of::<GroupOptions>(), "What members of each group see."),
            "roles": tables_of(&schema_of::<RoleOptions>(), "What administrators may do."),
            "storage": tables_of(&choice(&STORAGE), "Where files are."),
        },
    })
}

/// The schema of one type, nothing referred to from elsewhere.
pub(super) fn schema_of<T: JsonSchema>() -> Json {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = Json::from(settings.into_generator().into_root_schema_for::<T>());
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

fn list_of(family: &Family, about: &str) -> Json {
    json!({ "type": "array", "description": about, "items": choice(family) })
}

fn tables_of(schema: &Json, about: &str) -> Json {
    json!({ "type": "object", "description": about, "additionalProperties": schema })
}

/// One branch for each word of the family.
fn choice(family: &Family) -> Json {
    let branches: Vec<Json> = family
        .kinds
        .iter()
        .map(|kind| match kind.schemas {
            Some(schemas) => {
                let (shared, own) = schemas();
                merge(family.tag, kind.word, &shared, &own)
            }
            None => json!({
                "type": "object",
                "description": "Not built yet in this version.",
                "x-unbuilt": true,
                "properties": { family.tag: { "const": kind.word } },
                "required": [family.tag],
            }),
        })
        .collect();
    json!({ "oneOf": branches })
}

fn merge(tag: &str, word: &str, shared: &Json, own: &Json) -> Json {
    let mut properties = Map::new();
    properties.insert(tag.to_owned(), json!({ "const": word }));
    let mut required = vec![json!(tag)];
    for part in [shared, own] {
        let of = |key: &str| part.get(key);
        properties.extend(
            of("properties")
                .and_then(Json::as_object)
                .cloned()
                .unwrap_or_default(),
        );
        required.extend(
            of("required")
                .and_then(Json::as_array)
                .cloned()
                .unwrap_or_default(),
        );
    }
    let mut merged = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    });
    if let Some(about) = own.get("description") {
        set(&mut merged, "description", about.clone());
    }
    merged
}

fn set(schema: &mut Json, key: &str, value: Json) {
    if let Some(object) = schema.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
