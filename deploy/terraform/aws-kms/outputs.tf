output "key_arn" {
  description = "The key's ARN, for AwsKms::from_env or AwsKmsBuilder::key."
  value       = aws_kms_key.this.arn
}

output "replica_key_arns" {
  description = "The ARNs of the replicas by region, for AwsKmsBuilder::replica."
  value       = { for region, key in aws_kms_replica_key.this : region => key.arn }
}

output "alias_name" {
  description = "The key's alias, for people: the library takes ARNs only."
  value       = aws_kms_alias.this.name
}

output "key_policy" {
  description = "The key policy, as JSON."
  value       = module.policy.key_policy
}

output "break_glass_role_arn" {
  description = "The role for emergencies; null if nobody is trusted with it."
  value       = one(aws_iam_role.break_glass[*].arn)
}

output "trail_arn" {
  description = "The trail; null if the organisation's is used."
  value       = one(aws_cloudtrail.this[*].arn)
}

output "trail_bucket_name" {
  description = "The bucket that the trail writes to; null if the organisation's trail is used."
  value       = var.create_trail ? local.trail_bucket : null
}

output "log_group_name" {
  description = "The log group that alarms and queries read."
  value       = local.log_group
}

output "alarm_names" {
  description = "All alarms."
  value       = sort(concat([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name], [aws_cloudwatch_metric_alarm.unusual_rate.alarm_name]))
}
