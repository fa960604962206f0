//! `/api/v1/users`.

use axum::response::Response;
use http::StatusCode;
use rusqlite::Row;
use serde::Serialize;

use super::dates;
use super::store::Record;
use super::validate::Fields;
use crate::fake::reply::{json, json_text};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) user_id: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) title: Option<String>,
    pub(super) company: Option<String>,
    pub(super) address: Option<String>,
    pub(super) city: Option<String>,
    pub(super) country: Option<String>,
    pub(super) postal: Option<String>,
    pub(super) email: Option<String>,
    pub(super) website: Option<String>,
    /// In the clear, and in every response, as in the original.
    pub(super) password: String,
    pub(super) description: Option<String>,
    pub(super) date_create: String,
    pub(super) is_active: bool,
    pub(super) is_superuser: bool,
}

impl Record for User {
    const TABLE: &'static str = "users";
    const COLUMNS: &'static str = "userId, firstName, lastName, title, company, address, city, country, postal, email, \
                                   website, password, description, dateCreate, isActive, isSuperuser";
    const ID: &'static str = "userId";
    const FLAG: &'static str = "isActive";
    /// When it happened is not kept of a user; naming `?2` lets both tables be given the same parameters.
    const FINISH: &'static str = "UPDATE users SET isActive = 0 WHERE userId = ?1 AND ?2 IS NOT NULL";
    const FINISHED: bool = false;
    const FLAG_PARAMETER: &'static str = "active";
    const PAGED: bool = true;
    const BODY: &'static str = "user";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            user_id: row.get(0)?,
            first_name: row.get(1)?,
            last_name: row.get(2)?,
            title: row.get(3)?,
            company: row.get(4)?,
            address: row.get(5)?,
            city: row.get(6)?,
            country: row.get(7)?,
            postal: row.get(8)?,
            email: row.get(9)?,
            website: row.get(10)?,
            password: row.get(11)?,
            description: row.get(12)?,
            date_create: row.get(13)?,
            is_active: row.get(14)?,
            is_superuser: row.get(15)?,
        })
    }

    fn flag(&self) -> bool {
        self.is_active
    }

    fn new(user_id: String, fields: &mut Fields) -> Self {
        // The order in which the original looks at them, and so lists what is wrong.
        let (first_name, last_name, password) = (
            fields.required("firstName"),
            fields.required("lastName"),
            fields.required("password"),
        );
        Self {
            user_id,
            first_name,
            last_name,
            title: fields.optional("title"),
            company: fields.optional("company"),
            address: fields.optional("address"),
            city: fields.optional("city"),
            country: fields.optional("country"),
            postal: fields.optional("postal"),
            email: fields.optional("email"),
            website: fields.optional("website"),
            password,
            description: fields.optional("description"),
            date_create: dates::now(),
            is_active: true,
            is_superuser: false,
        }
    }

    fn found(_id: &str, row: Option<Self>) -> Response {
        match row {
            Some(user) => json(StatusCode::OK, &user),
            None => json_text(StatusCode::OK, ""),
        }
    }

    /// What the original's database layer returns for an update, found or not.
    fn finished(_id: &str) -> Response {
        json_text(StatusCode::OK, "0")
    }
}
