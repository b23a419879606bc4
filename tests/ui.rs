//! What must not compile, with the message that it causes, and what must.

#[test]
fn models() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
