output "key_policy" {
  description = "The key policy, as JSON."
  value       = local.key_policy

  # As long as KMS takes.
  precondition {
    condition     = length(local.key_policy) <= 32768
    error_message = "The key policy is longer than the 32 KiB that KMS takes; name fewer roles."
  }
}

output "break_glass_trust" {
  description = "The trust policy of the break-glass role, as JSON; null if nobody is trusted."
  value       = length(var.break_glass_trusted) > 0 ? local.break_glass_trust : null
}
