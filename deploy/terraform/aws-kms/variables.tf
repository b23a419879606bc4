variable "name" {
  description = "Names everything that is made: the alias, the trail, the roles, the alarms."
  type        = string
  default     = "ophie-crypt"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,31}$", var.name))
    error_message = "name is 2 to 32 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
  nullable    = false
}

# ---- The key.

variable "app" {
  description = "The application's name in the encryption context: what KeyringBuilder::app is given. It must never change."
  type        = string
  default     = "ophie-crypt"
  nullable    = false
}

variable "deletion_window_in_days" {
  description = "How long a deleted key can still be brought back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.deletion_window_in_days >= 7 && var.deletion_window_in_days <= 30 && floor(var.deletion_window_in_days) == var.deletion_window_in_days
    error_message = "deletion_window_in_days is a whole number from 7 to 30, as KMS takes it."
  }
}

variable "rotation_period_in_days" {
  description = "After how many days KMS makes new key material; what was wrapped before still unwraps."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = var.rotation_period_in_days >= 90 && var.rotation_period_in_days <= 2560 && floor(var.rotation_period_in_days) == var.rotation_period_in_days
    error_message = "rotation_period_in_days is a whole number from 90 to 2560, as KMS takes it."
  }
}

variable "multi_region" {
  description = "Whether the key can have replicas. It cannot be changed: a key is one or the other from the start."
  type        = bool
  default     = false
  nullable    = false
}

variable "replica_regions" {
  description = "The regions that hold a replica of the key."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = var.multi_region || length(var.replica_regions) == 0
    error_message = "Only a key with multi_region = true has replicas."
  }
  validation {
    condition     = alltrue([for region in var.replica_regions : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region))])
    error_message = "replica_regions are names of AWS regions, as eu-west-1."
  }
}

# ---- Who may what. modules/policy refuses wildcards, and a role with two of these parts.

variable "administrator_arns" {
  description = "ARNs of the roles and users that manage the key and cannot use it. One of them runs Terraform."
  type        = set(string)
  nullable    = false
}

variable "application_role_arns" {
  description = "ARNs of the roles that the application runs as: GenerateDataKey and Decrypt."
  type        = set(string)
  nullable    = false
}

variable "auditor_role_arns" {
  description = "ARNs of the roles that verify the audit: Decrypt of audit keys."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "migrator_role_arns" {
  description = "ARNs of the roles that move wrapped keys by ReEncrypt. None, unless a move is under way."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "migration" {
  description = "How migrators move wrapped keys: within this key, away from it (from), or to it (to)."
  type        = set(string)
  default     = ["within"]
  nullable    = false
}

variable "break_glass_trusted_arns" {
  description = "ARNs of the users, roles or accounts that may assume the break-glass role, with MFA; none: no such role."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "root_user_recovers" {
  description = "Whether the account's root user may read and replace the key policy, should all administrators be gone."
  type        = bool
  default     = true
  nullable    = false
}

# ---- The log of all calls.

variable "create_trail" {
  description = "Whether to make a CloudTrail trail with its log group; false where the organisation has one."
  type        = bool
  default     = true
  nullable    = false
}

variable "trail_bucket_name" {
  description = "An existing bucket for the trail, whose policy admits CloudTrail; null: a bucket of the module's own."
  type        = string
  default     = null
}

variable "log_group_name" {
  description = "The log group that the organisation's trail writes to; for create_trail = false only."
  type        = string
  default     = null

  validation {
    condition     = var.create_trail == (var.log_group_name == null)
    error_message = "Give log_group_name if, and only if, create_trail is false: the alarms read the trail's log group."
  }
}

variable "log_retention_in_days" {
  description = "How long the log group keeps what the alarms and queries read. The bucket keeps all."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_in_days)
    error_message = "log_retention_in_days is one of the numbers that CloudWatch knows, from 90: 90, 120, 150, 180, 365, 400, 545, 731, .. 3653."
  }
}

# ---- Alarms.

variable "alarm_action_arns" {
  description = "What an alarm calls: ARNs of SNS topics, say."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.alarm_action_arns) > 0
    error_message = "Name at least one action; an alarm that nobody hears is none."
  }
}

variable "most_unwraps_in_5_minutes" {
  description = "More Decrypt calls than these in five minutes are an alarm. A process makes one for each owner with open sessions in seven to nine minutes."
  type        = number
  default     = 3000
  nullable    = false

  validation {
    condition     = var.most_unwraps_in_5_minutes >= 1 && floor(var.most_unwraps_in_5_minutes) == var.most_unwraps_in_5_minutes
    error_message = "most_unwraps_in_5_minutes is a whole number from 1."
  }
}

variable "unusual_rate_width" {
  description = "How many standard deviations above what CloudWatch expects at that hour the rate of unwraps is an alarm."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.unusual_rate_width >= 1 && var.unusual_rate_width <= 20
    error_message = "unusual_rate_width is a number from 1 to 20."
  }
}

variable "most_refusals_in_5_minutes" {
  description = "More refused calls than these in five minutes are an alarm."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.most_refusals_in_5_minutes >= 0 && floor(var.most_refusals_in_5_minutes) == var.most_refusals_in_5_minutes
    error_message = "most_refusals_in_5_minutes is a whole number from 0."
  }
}
