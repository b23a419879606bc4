# Patterns of metric filters on a CloudTrail log group: what deserves an alarm. Needs no provider.
#
# The key stands in `resources` of calls that were let in, and only in the error's text of those that were not. A
# multi-Region key has the same id everywhere, so that the id alone names all its replicas.

terraform {
  required_version = ">= 1.9"
}

variable "key_id" {
  description = "The key's id, without account and region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,64}$", var.key_id))
    error_message = "key_id is the last part of the key's ARN."
  }
}

variable "expected" {
  description = "ARNs of the roles that unwrap in everyday work: the application's, auditors and migrators."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.expected : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "expected are ARNs of IAM roles, not of their sessions."
  }
}

locals {
  kms  = "($.eventSource = \"kms.amazonaws.com\")"
  key  = "($.resources[0].ARN = \"*key/${var.key_id}\") || ($.resources[1].ARN = \"*key/${var.key_id}\")"
  role = "$.userIdentity.sessionContext.sessionIssuer.arn"

  is_not_expected = join(" && ", [for arn in sort(var.expected) : "(${local.role} != \"${arn}\")"])

  changes = ["CancelKeyDeletion", "CreateGrant", "DisableKey", "DisableKeyRotation", "PutKeyPolicy", "ReplicateKey", "ScheduleKeyDeletion", "UpdatePrimaryRegion"]
  stops   = ["DeleteTrail", "PutEventSelectors", "StopLogging", "UpdateTrail"]
  refused = ["AccessDenied*", "IncorrectKey*", "InvalidCiphertext*"]

  patterns = {
    # A user, a service and the root user have no role at all.
    strangers = "{ ${local.kms} && (($.eventName = \"Decrypt\") || ($.eventName = \"ReEncrypt\")) && (${local.key}) && ((${local.role} NOT EXISTS) || (${local.is_not_expected})) }"
    unwraps   = "{ ${local.kms} && ($.eventName = \"Decrypt\") && (${local.key}) && ($.errorCode NOT EXISTS) }"
    refusals  = "{ ${local.kms} && (${join(" || ", [for code in local.refused : "($.errorCode = \"${code}\")"])}) && (${local.key} || ($.errorMessage = \"*key/${var.key_id}*\")) }"
    changes   = "{ ${local.kms} && (${join(" || ", [for name in local.changes : "($.eventName = \"${name}\")"])}) && (${local.key} || ($.requestParameters.keyId = \"*${var.key_id}\")) }"
    blindings = "{ ($.eventSource = \"cloudtrail.amazonaws.com\") && (${join(" || ", [for name in local.stops : "($.eventName = \"${name}\")"])}) }"
  }
}

output "patterns" {
  description = "The patterns, by what they count: strangers, unwraps, refusals, changes, blindings."
  value       = local.patterns

  precondition {
    condition     = length(var.expected) > 0
    error_message = "Name at least one role that is expected to unwrap."
  }
  precondition {
    condition     = alltrue([for pattern in local.patterns : length(pattern) <= 1024])
    error_message = "A pattern is longer than the 1,024 characters that CloudWatch takes; name fewer roles, with shorter names."
  }
}
