variable "app" {
  description = "The application's name in the encryption context: what KeyringBuilder::app is given."
  type        = string
  default     = "ophie-crypt"
  nullable    = false

  # In a condition `$${..}` is a variable of IAM's, and other operators than StringEquals know `*` and `?`.
  validation {
    condition     = can(regex("^[A-Za-z0-9 ._:/@+=-]{1,128}$", var.app))
    error_message = "app is 1 to 128 letters, digits, spaces and any of ._:/@+=-, as KeyringBuilder::app has it."
  }
}

variable "account_id" {
  description = "The account that the key is in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is 12 digits."
  }
}

variable "partition" {
  description = "The partition of the account: aws, aws-cn, aws-us-gov."
  type        = string
  default     = "aws"
  nullable    = false

  validation {
    condition     = can(regex("^aws(-[a-z]+)*$", var.partition))
    error_message = "partition is aws, or begins with aws-."
  }
}

variable "administrators" {
  description = "ARNs of the roles and users that manage the key and cannot use it."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.administrators) > 0
    error_message = "Name at least one administrator; a key that nobody manages can only be mended by AWS Support."
  }
  validation {
    condition     = alltrue([for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "administrators are ARNs of IAM roles or users, without wildcards: arn:aws:iam::ACCOUNT:role/NAME."
  }
  validation {
    condition = length(setintersection(var.administrators, setunion(
      var.applications, var.auditors, var.migrators, var.break_glass[*],
    ))) == 0
    error_message = "Who manages the key does not use it; give the two to different roles."
  }
}

variable "applications" {
  description = "ARNs of the roles that the application runs as."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.applications) > 0
    error_message = "Name at least one role of the application."
  }
  validation {
    condition     = alltrue([for arn in var.applications : can(regex(local.role, arn))])
    error_message = "applications are ARNs of IAM roles, without wildcards, not of their sessions: arn:aws:iam::ACCOUNT:role/NAME."
  }
  validation {
    condition     = length(setintersection(var.applications, setunion(var.auditors, var.migrators, var.break_glass[*]))) == 0
    error_message = "The application must not be auditor, migrator or break-glass role as well: it could rewrite its own audit, or choose a DEK."
  }
}

variable "auditors" {
  description = "ARNs of the roles that verify the audit: they decrypt audit keys and nothing else."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.auditors : can(regex(local.role, arn))])
    error_message = "auditors are ARNs of IAM roles, without wildcards, not of their sessions: arn:aws:iam::ACCOUNT:role/NAME."
  }
  validation {
    condition     = length(setintersection(var.auditors, setunion(var.migrators, var.break_glass[*]))) == 0
    error_message = "An auditor must not be migrator or break-glass role as well."
  }
}

variable "migrators" {
  description = "ARNs of the roles that move wrapped keys by ReEncrypt. None, unless a move is under way."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.migrators : can(regex(local.role, arn))])
    error_message = "migrators are ARNs of IAM roles, without wildcards, not of their sessions: arn:aws:iam::ACCOUNT:role/NAME."
  }
  validation {
    condition     = length(setintersection(var.migrators, var.break_glass[*])) == 0
    error_message = "A migrator must not be break-glass role as well."
  }
}

variable "migration" {
  description = "How migrators move wrapped keys: within this key, away from it (from), or to it (to)."
  type        = set(string)
  default     = ["within"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.migration, ["from", "to", "within"])) == 0
    error_message = "migration holds any of from, to and within."
  }
}

variable "break_glass" {
  description = "ARN of the role that may unwrap owners' keys in an emergency; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.break_glass == null || can(regex(local.role, var.break_glass))
    error_message = "break_glass is the ARN of an IAM role, without wildcards: arn:aws:iam::ACCOUNT:role/NAME."
  }
}

variable "break_glass_trusted" {
  description = "ARNs of the users, roles or accounts that may assume the break-glass role, with MFA."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([for arn in var.break_glass_trusted : can(
      regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|(role|user)/[A-Za-z0-9+=,.@_/-]+)$", arn)
    )])
    error_message = "break_glass_trusted are ARNs of IAM users, roles or accounts (..:root), without wildcards."
  }
}

variable "root_user_recovers" {
  description = "Whether the account's root user may read and replace the key policy, should all administrators be gone."
  type        = bool
  default     = true
  nullable    = false
}
