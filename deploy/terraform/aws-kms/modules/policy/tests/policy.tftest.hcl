# The JSON files beside this are what the strict evaluators of tests/ decide their cases on: here they are proved to be what
# the module renders.

variables {
  app            = "ophie"
  account_id     = "111122223333"
  administrators = ["arn:aws:iam::111122223333:role/deploy"]
  applications   = ["arn:aws:iam::111122223333:role/ophie-api"]
}

run "least" {
  command = plan

  assert {
    condition     = jsondecode(output.key_policy) == jsondecode(file("./tests/least.json"))
    error_message = "The policy is not that of least.json: ${output.key_policy}"
  }
  assert {
    condition     = output.break_glass_trust == null
    error_message = "Nobody is trusted, and there is a trust policy."
  }
}

run "complete" {
  command = plan

  variables {
    applications        = ["arn:aws:iam::111122223333:role/ophie-worker", "arn:aws:iam::111122223333:role/ophie-api"]
    auditors            = ["arn:aws:iam::111122223333:role/auditor"]
    migrators           = ["arn:aws:iam::111122223333:role/ophie-migrator"]
    break_glass         = "arn:aws:iam::111122223333:role/ophie-break-glass"
    break_glass_trusted = ["arn:aws:iam::111122223333:user/ada", "arn:aws:iam::111122223333:user/ben"]
  }

  assert {
    condition     = jsondecode(output.key_policy) == jsondecode(file("./tests/complete.json"))
    error_message = "The policy is not that of complete.json: ${output.key_policy}"
  }
  assert {
    condition     = jsondecode(output.break_glass_trust) == jsondecode(file("./tests/break_glass_trust.json"))
    error_message = "The trust policy is not that of break_glass_trust.json: ${output.break_glass_trust}"
  }
}

run "moving" {
  command = plan

  variables {
    migrators = ["arn:aws:iam::111122223333:role/ophie-migrator"]
    migration = ["from", "to"]
  }

  assert {
    condition     = jsondecode(output.key_policy) == jsondecode(file("./tests/moving.json"))
    error_message = "The policy is not that of moving.json: ${output.key_policy}"
  }
}

# What the golden files alone would not say: why.

run "nobody_is_allowed_to_encrypt_to_grant_or_everything" {
  command = plan

  variables {
    auditors    = ["arn:aws:iam::111122223333:role/auditor"]
    migrators   = ["arn:aws:iam::111122223333:role/ophie-migrator"]
    migration   = ["within", "from", "to"]
    break_glass = "arn:aws:iam::111122223333:role/ophie-break-glass"
  }

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(output.key_policy).Statement : [
        for action in statement.Action : !strcontains(action, "*") && !contains(["kms:Encrypt", "kms:CreateGrant"], action)
      ] if statement.Effect == "Allow"
    ]))
    error_message = "A statement allows kms:Encrypt, kms:CreateGrant or a wildcard."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(output.key_policy).Statement :
      statement.Condition.StringEquals["kms:EncryptionContext:app"] == "ophie"
      if statement.Effect == "Allow" && !contains(["AdministratorsManage", "RootUserRecovers"], statement.Sid)
    ])
    error_message = "A statement for use of the key does not ask for the application."
  }
}

run "the_default_application_is_the_librarys" {
  command = plan

  variables {
    app = null
  }

  assert {
    condition     = jsondecode(output.key_policy).Statement[0].Condition.StringEquals["kms:EncryptionContext:app"] == "ophie-crypt"
    error_message = "KeyringBuilder says ophie-crypt where no application is given."
  }
}

run "the_root_user_can_be_left_out" {
  command = plan

  variables {
    root_user_recovers = false
  }

  assert {
    condition     = !strcontains(output.key_policy, ":root")
    error_message = "The root user is still there."
  }
}

run "other_partitions" {
  command = plan

  variables {
    partition      = "aws-cn"
    administrators = ["arn:aws-cn:iam::111122223333:role/deploy"]
    applications   = ["arn:aws-cn:iam::111122223333:role/ophie-api"]
  }

  assert {
    condition     = strcontains(output.key_policy, "arn:aws-cn:iam::111122223333:root") && !strcontains(output.key_policy, "arn:aws:")
    error_message = "An ARN of another partition."
  }
}

# ---- What is refused.

run "an_app_that_iam_would_expand" {
  command         = plan
  expect_failures = [var.app]

  variables {
    app = "$${aws:username}"
  }
}

run "an_app_with_a_wildcard" {
  command         = plan
  expect_failures = [var.app]

  variables {
    app = "ophie*"
  }
}

run "an_account_that_is_none" {
  command         = plan
  expect_failures = [var.account_id]

  variables {
    account_id = "1111"
  }
}

run "a_partition_that_is_none" {
  command         = plan
  expect_failures = [var.partition]

  variables {
    partition = "gcp"
  }
}

run "nobody_to_manage" {
  command         = plan
  expect_failures = [var.administrators]

  variables {
    administrators = []
  }
}

run "administrators_by_wildcard" {
  command         = plan
  expect_failures = [var.administrators]

  variables {
    administrators = ["arn:aws:iam::111122223333:role/*"]
  }
}

run "an_administrator_who_uses" {
  command         = plan
  expect_failures = [var.administrators]

  variables {
    administrators = ["arn:aws:iam::111122223333:role/ophie-api"]
  }
}

run "an_administrator_who_breaks_glass" {
  command         = plan
  expect_failures = [var.administrators]

  variables {
    break_glass = "arn:aws:iam::111122223333:role/deploy"
  }
}

run "no_application" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    applications = []
  }
}

run "applications_by_wildcard" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    applications = ["*"]
  }
}

run "an_application_that_is_the_whole_account" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    applications = ["arn:aws:iam::111122223333:root"]
  }
}

run "an_application_that_is_a_session" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    applications = ["arn:aws:sts::111122223333:assumed-role/ophie-api/i-0123"]
  }
}

run "an_application_that_audits_itself" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    auditors = ["arn:aws:iam::111122223333:role/ophie-api"]
  }
}

run "an_application_that_migrates" {
  command         = plan
  expect_failures = [var.applications]

  variables {
    migrators = ["arn:aws:iam::111122223333:role/ophie-api"]
  }
}

run "an_auditor_by_wildcard" {
  command         = plan
  expect_failures = [var.auditors]

  variables {
    auditors = ["arn:aws:iam::111122223333:role/audit*"]
  }
}

run "an_auditor_who_migrates" {
  command         = plan
  expect_failures = [var.auditors]

  variables {
    auditors  = ["arn:aws:iam::111122223333:role/auditor"]
    migrators = ["arn:aws:iam::111122223333:role/auditor"]
  }
}

run "a_migrator_by_wildcard" {
  command         = plan
  expect_failures = [var.migrators]

  variables {
    migrators = ["arn:aws:iam::*:role/migrator"]
  }
}

run "a_migrator_who_breaks_glass" {
  command         = plan
  expect_failures = [var.migrators]

  variables {
    migrators   = ["arn:aws:iam::111122223333:role/migrator"]
    break_glass = "arn:aws:iam::111122223333:role/migrator"
  }
}

run "a_migration_that_is_none" {
  command         = plan
  expect_failures = [var.migration]

  variables {
    migration = ["through"]
  }
}

run "break_glass_by_wildcard" {
  command         = plan
  expect_failures = [var.break_glass]

  variables {
    break_glass = "arn:aws:iam::111122223333:role/break*"
  }
}

run "everybody_trusted_with_break_glass" {
  command         = plan
  expect_failures = [var.break_glass_trusted]

  variables {
    break_glass_trusted = ["*"]
  }
}

run "a_policy_longer_than_kms_takes" {
  command         = plan
  expect_failures = [output.key_policy]

  variables {
    applications = [for number in range(400) : "arn:aws:iam::111122223333:role/a-service-with-a-long-name-${number}"]
  }
}
