//! A mistake in a select is named by its error message. `TRYBUILD=overwrite` writes the expectations anew.

#[test]
fn mistakes_are_named() {
    trybuild::TestCases::new().compile_fail("tests/grammar/*.rs");
}
