use super::{TableName, TableNameError};

fn table(schema: &str, name: &str) -> TableName {
    TableName {
        schema: schema.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn a_name_without_a_schema_is_in_public() {
    assert_eq!(
        TableName::parse_list("message_instances", "public"),
        Ok(vec![table("public", "message_instances")])
    );
}

#[test]
fn unquoted_names_fold_and_quoted_ones_do_not() {
    assert_eq!(
        TableName::parse_list(
            "Public.Message_Instances,\"My Schema\".\"Big\"\"One\"",
            "public"
        ),
        Ok(vec![
            table("public", "message_instances"),
            table("My Schema", "Big\"One")
        ])
    );
}

#[test]
fn quoted_names_may_hold_commas_and_full_stops() {
    assert_eq!(
        TableName::parse_list("\"a,b\".\"c.d\"", "public"),
        Ok(vec![table("a,b", "c.d")])
    );
}

#[test]
fn blanks_around_names_do_not_matter() {
    assert_eq!(
        TableName::parse_list(" a . b , c ", "public"),
        Ok(vec![table("a", "b"), table("public", "c")])
    );
}

#[test]
fn a_table_named_twice_counts_once() {
    assert_eq!(
        TableName::parse_list("t,public.t,\"t\"", "public").map(|tables| tables.len()),
        Ok(1)
    );
}

#[test]
fn each_mistake_has_its_own_error() {
    for (list, error) in [
        ("", TableNameError::Missing),
        (" ", TableNameError::Missing),
        ("a,", TableNameError::Missing),
        (",a", TableNameError::Missing),
        ("a.b.c", TableNameError::TooManyParts),
        ("a.", TableNameError::EmptyPart),
        (".a", TableNameError::EmptyPart),
        ("\"\"", TableNameError::EmptyPart),
        ("\"a", TableNameError::OpenQuote),
        ("a b", TableNameError::Character('b')),
        ("1a", TableNameError::Character('1')),
        ("a-b", TableNameError::Character('-')),
        ("a;drop", TableNameError::Character(';')),
        ("\"a\"b", TableNameError::Character('b')),
        ("\"a\0b\"", TableNameError::Character('\0')),
    ] {
        assert_eq!(
            TableName::parse_list(list, "public"),
            Err(error),
            "{list:?}"
        );
    }
    assert_eq!(
        TableName::parse_list(&"a".repeat(64), "public"),
        Err(TableNameError::TooLong)
    );
    assert!(TableName::parse_list(&"a".repeat(63), "public").is_ok());
}

#[test]
fn sql_quotes_everything_and_people_read_what_they_wrote() {
    let odd = table("My\"Schema", "t");
    assert_eq!(odd.to_sql(), "\"My\"\"Schema\".\"t\"");
    assert_eq!(odd.to_string(), "\"My\"\"Schema\".t");
    assert_eq!(
        TableName::parse_list(&odd.to_string(), "public"),
        Ok(vec![odd.clone()])
    );
    assert_eq!(
        TableName::parse_list(&odd.to_sql(), "public"),
        Ok(vec![odd])
    );
}
