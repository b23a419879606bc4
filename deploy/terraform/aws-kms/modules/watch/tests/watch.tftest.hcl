# patterns.json is what the events of tests/terraform are matched with: here it is proved to be what the module renders.

variables {
  key_id   = "mrk-1234abcd12ab34cd56ef1234567890ab"
  expected = ["arn:aws:iam::111122223333:role/ophie-worker", "arn:aws:iam::111122223333:role/ophie-api", "arn:aws:iam::111122223333:role/auditor"]
}

run "patterns" {
  command = plan

  assert {
    condition     = output.patterns == jsondecode(file("./tests/patterns.json"))
    error_message = "The patterns are not those of patterns.json: ${jsonencode(output.patterns)}"
  }
}

run "a_key_that_is_an_arn" {
  command         = plan
  expect_failures = [var.key_id]

  variables {
    key_id = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
}

run "expected_by_wildcard" {
  command         = plan
  expect_failures = [var.expected]

  variables {
    expected = ["*"]
  }
}

run "nobody_expected" {
  command         = plan
  expect_failures = [output.patterns]

  variables {
    expected = []
  }
}

run "a_pattern_longer_than_cloudwatch_takes" {
  command         = plan
  expect_failures = [output.patterns]

  variables {
    expected = [for number in range(10) : "arn:aws:iam::111122223333:role/a-service-with-a-long-name-${number}"]
  }
}
