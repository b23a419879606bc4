# What the module refuses before it asks AWS anything, and what follows from its switches. The provider is mocked.
#
# What was made is destroyed at the end, which the key forbids: copy the module, and add the override that the README shows.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "111122223333"
    }
  }
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
  mock_data "aws_region" {
    defaults = {
      region = "eu-central-1"
    }
  }
  mock_resource "aws_kms_key" {
    defaults = {
      arn    = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
      key_id = "mrk-1234abcd12ab34cd56ef1234567890ab"
    }
  }
}

variables {
  administrator_arns    = ["arn:aws:iam::111122223333:role/deploy"]
  application_role_arns = ["arn:aws:iam::111122223333:role/ophie-api"]
  alarm_action_arns     = ["arn:aws:sns:eu-central-1:111122223333:alarms"]
}

run "defaults" {
  assert {
    condition     = aws_kms_key.this.deletion_window_in_days == 30 && aws_kms_key.this.enable_key_rotation && aws_kms_key.this.rotation_period_in_days == 365
    error_message = "By default a key rotates each year, and is gone 30 days after it was deleted."
  }
  assert {
    condition     = aws_kms_key.this.policy == module.policy.key_policy
    error_message = "The key has another policy than that of modules/policy."
  }
  assert {
    condition     = !aws_kms_key.this.multi_region && length(aws_kms_replica_key.this) == 0 && length(aws_iam_role.break_glass) == 0
    error_message = "By default there are neither replicas nor a break-glass role."
  }
  assert {
    condition     = aws_cloudtrail.this[0].is_multi_region_trail && aws_cloudtrail.this[0].enable_log_file_validation && aws_cloudtrail.this[0].include_global_service_events
    error_message = "The trail sees too little, or cannot be checked."
  }
  assert {
    condition     = output.alarm_names == tolist(["ophie-crypt-blindings", "ophie-crypt-changes", "ophie-crypt-refusals", "ophie-crypt-strangers", "ophie-crypt-unusual-rate", "ophie-crypt-unwraps"])
    error_message = "An alarm is missing, or new."
  }
  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == var.alarm_action_arns && alarm.comparison_operator == "GreaterThanThreshold"
    ])
    error_message = "An alarm calls nobody, or looks the wrong way."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["strangers"].threshold == 0 && aws_cloudwatch_metric_alarm.this["changes"].threshold == 0
    error_message = "One stranger, or one change, is enough for an alarm."
  }
}

run "replicas" {
  variables {
    multi_region    = true
    replica_regions = ["eu-west-1", "us-east-1"]
  }

  assert {
    condition     = alltrue([for region, key in aws_kms_replica_key.this : key.region == region && key.policy == aws_kms_key.this.policy])
    error_message = "A replica is elsewhere, or has another policy."
  }
  assert {
    condition     = alltrue([for region, alias in aws_kms_alias.replica : alias.region == region && alias.name == aws_kms_alias.this.name])
    error_message = "An alias is elsewhere, or has another name."
  }
}

run "a_bucket_of_somebody_else" {
  variables {
    trail_bucket_name = "the-organisations-logs"
  }

  assert {
    condition     = aws_cloudtrail.this[0].s3_bucket_name == "the-organisations-logs" && length(aws_s3_bucket.trail) == 0 && length(aws_s3_bucket_policy.trail) == 0
    error_message = "The module made a bucket, or wrote to the other's policy."
  }
}

run "a_trail_of_somebody_else" {
  variables {
    create_trail   = false
    log_group_name = "the-organisations-trail"
  }

  assert {
    condition     = length(aws_cloudtrail.this) == 0 && length(aws_s3_bucket.trail) == 0 && length(aws_iam_role.trail) == 0
    error_message = "The module made a part of a trail."
  }
  assert {
    condition     = alltrue([for filter in aws_cloudwatch_log_metric_filter.this : filter.log_group_name == "the-organisations-trail"])
    error_message = "An alarm reads another log group."
  }
}

run "break_glass" {
  variables {
    name                     = "ophie"
    break_glass_trusted_arns = ["arn:aws:iam::111122223333:user/ada"]
  }

  assert {
    condition     = strcontains(aws_kms_key.this.policy, "arn:aws:iam::111122223333:role/${aws_iam_role.break_glass[0].name}")
    error_message = "The key policy names another role than the one that is made."
  }
  assert {
    condition     = aws_iam_role.break_glass[0].assume_role_policy == module.policy.break_glass_trust && aws_iam_role.break_glass[0].max_session_duration == 3600
    error_message = "The role trusts others than modules/policy says, or for longer than an hour."
  }
  assert {
    condition     = !strcontains(module.watch.patterns["strangers"], "break-glass")
    error_message = "Break-glass is expected, and would not be an alarm."
  }
}

# ---- What is refused.

run "a_name_that_is_none" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "Ophie"
  }
}

run "deleted_too_soon" {
  command         = plan
  expect_failures = [var.deletion_window_in_days]

  variables {
    deletion_window_in_days = 6
  }
}

run "deleted_too_late" {
  command         = plan
  expect_failures = [var.deletion_window_in_days]

  variables {
    deletion_window_in_days = 31
  }
}

run "deleted_in_half_days" {
  command         = plan
  expect_failures = [var.deletion_window_in_days]

  variables {
    deletion_window_in_days = 7.5
  }
}

run "rotated_too_often" {
  command         = plan
  expect_failures = [var.rotation_period_in_days]

  variables {
    rotation_period_in_days = 89
  }
}

run "rotated_too_seldom" {
  command         = plan
  expect_failures = [var.rotation_period_in_days]

  variables {
    rotation_period_in_days = 2561
  }
}

run "replicas_of_a_key_that_can_have_none" {
  command         = plan
  expect_failures = [var.replica_regions]

  variables {
    replica_regions = ["eu-west-1"]
  }
}

run "a_region_that_is_none" {
  command         = plan
  expect_failures = [var.replica_regions]

  variables {
    multi_region    = true
    replica_regions = ["Ireland"]
  }
}

run "a_replica_where_the_key_is" {
  command         = plan
  expect_failures = [aws_kms_replica_key.this]

  variables {
    multi_region    = true
    replica_regions = ["eu-central-1"]
  }
}

run "no_log_group_to_read" {
  command         = plan
  expect_failures = [var.log_group_name]

  variables {
    create_trail = false
  }
}

run "two_log_groups_to_read" {
  command         = plan
  expect_failures = [var.log_group_name]

  variables {
    log_group_name = "the-organisations-trail"
  }
}

run "a_retention_that_cloudwatch_does_not_know" {
  command         = plan
  expect_failures = [var.log_retention_in_days]

  variables {
    log_retention_in_days = 100
  }
}

run "alarms_that_nobody_hears" {
  command         = plan
  expect_failures = [var.alarm_action_arns]

  variables {
    alarm_action_arns = []
  }
}

run "an_alarm_that_always_rings" {
  command         = plan
  expect_failures = [var.most_unwraps_in_5_minutes]

  variables {
    most_unwraps_in_5_minutes = 0
  }
}

run "a_width_that_is_none" {
  command         = plan
  expect_failures = [var.unusual_rate_width]

  variables {
    unusual_rate_width = 0
  }
}

run "refusals_below_none" {
  command         = plan
  expect_failures = [var.most_refusals_in_5_minutes]

  variables {
    most_refusals_in_5_minutes = -1
  }
}
