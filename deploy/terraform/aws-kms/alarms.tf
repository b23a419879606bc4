# What deserves to wake somebody. modules/watch has the patterns.

module "watch" {
  source = "./modules/watch"

  key_id   = aws_kms_key.this.key_id
  expected = setunion(var.application_role_arns, var.auditor_role_arns, var.migrator_role_arns)
}

locals {
  # Metrics with the same name in one namespace are one metric.
  namespace = "ophie-crypt/${var.name}"

  counted = {
    blindings = { most = 0, period = 60, says = "A trail was changed, stopped or deleted: what happens next may not be seen" }
    changes   = { most = 0, period = 60, says = "Somebody changed the key, its policy, its replicas or its life" }
    refusals  = { most = var.most_refusals_in_5_minutes, period = 300, says = "KMS refused calls on the key: somebody tries, or a deploy is wrong" }
    strangers = { most = 0, period = 60, says = "Keys were unwrapped by another principal than the application, an auditor or a migrator; break-glass is one" }
    unwraps   = { most = var.most_unwraps_in_5_minutes, period = 300, says = "More unwraps than the application ever needs" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.counted

  name           = "${var.name}-${each.key}"
  log_group_name = local.log_group
  pattern        = module.watch.patterns[each.key]

  metric_transformation {
    namespace     = local.namespace
    name          = each.key
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.counted

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = local.namespace
  metric_name         = each.key
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.most
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_action_arns
  tags                = var.tags
}

# As CloudWatch learned it from two weeks: a thousand unwraps are usual at noon, and not at three in the morning.
resource "aws_cloudwatch_metric_alarm" "unusual_rate" {
  alarm_name          = "${var.name}-unusual-rate"
  alarm_description   = "Keys are unwrapped more often than is usual at this hour"
  evaluation_periods  = 1
  comparison_operator = "GreaterThanUpperThreshold"
  threshold_metric_id = "usual"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_action_arns
  tags                = var.tags

  metric_query {
    id          = "unwraps"
    return_data = true

    metric {
      namespace   = local.namespace
      metric_name = "unwraps"
      stat        = "Sum"
      period      = 300
    }
  }

  metric_query {
    id          = "usual"
    expression  = "ANOMALY_DETECTION_BAND(unwraps, ${var.unusual_rate_width})"
    label       = "usual"
    return_data = true
  }
}
