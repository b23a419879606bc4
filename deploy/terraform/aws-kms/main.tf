# The master key of ophie-crypt in AWS KMS, and who may do what with it.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  region     = data.aws_region.this.region
}

module "policy" {
  source = "./modules/policy"

  app                 = var.app
  account_id          = local.account_id
  partition           = local.partition
  administrators      = var.administrator_arns
  applications        = var.application_role_arns
  auditors            = var.auditor_role_arns
  migrators           = var.migrator_role_arns
  migration           = var.migration
  break_glass         = local.break_glass ? "arn:${local.partition}:iam::${local.account_id}:role/${var.name}-break-glass" : null
  break_glass_trusted = var.break_glass_trusted_arns
  root_user_recovers  = var.root_user_recovers
}

resource "aws_kms_key" "this" {
  description             = "Master key of ${var.name}: wraps the data keys of ophie-crypt's owners"
  policy                  = module.policy.key_policy
  multi_region            = var.multi_region
  deletion_window_in_days = var.deletion_window_in_days
  enable_key_rotation     = true
  rotation_period_in_days = var.rotation_period_in_days
  tags                    = var.tags

  # KMS refuses a policy that names a role which does not exist.
  depends_on = [aws_iam_role.break_glass]

  # Without this key nothing that was ever sealed opens again, in no backup either.
  lifecycle {
    prevent_destroy = true
  }
}

# For people. The library takes ARNs only: an alias can be pointed to another key.
resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_kms_replica_key" "this" {
  for_each = var.replica_regions

  region                  = each.key
  description             = "Replica of the master key of ${var.name}"
  primary_key_arn         = aws_kms_key.this.arn
  policy                  = module.policy.key_policy
  deletion_window_in_days = var.deletion_window_in_days
  tags                    = var.tags

  lifecycle {
    precondition {
      condition     = each.key != local.region
      error_message = "The key itself is in ${each.key}; its replicas are elsewhere."
    }
  }
}

resource "aws_kms_alias" "replica" {
  for_each = aws_kms_replica_key.this

  region        = each.key
  name          = "alias/${var.name}"
  target_key_id = each.value.key_id
}

# ---- The role for emergencies. It has no policy of its own: the key's names it.

locals {
  break_glass = length(var.break_glass_trusted_arns) > 0
}

resource "aws_iam_role" "break_glass" {
  count = local.break_glass ? 1 : 0

  name                 = "${var.name}-break-glass"
  description          = "Unwraps data keys of ${var.name} in an emergency; each use is an alarm"
  assume_role_policy   = module.policy.break_glass_trust
  max_session_duration = 3600
  tags                 = var.tags
}
