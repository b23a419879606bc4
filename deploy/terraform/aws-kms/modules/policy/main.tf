# The key policy and the break-glass role's trust policy, as JSON. Needs no provider, so that `terraform test` can hold
# every statement offline.
#
# There is no statement for the account as a whole: IAM policies give nobody anything on this key.

terraform {
  required_version = ">= 1.9"
}

locals {
  # What variables.tf takes for a role: one, without wildcards, and not one of its sessions.
  role = "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$"

  # ForAllValues also holds where nothing is there: Null asks for each key. Names in `kms:EncryptionContext:..` are
  # compared without regard to case, those in EncryptionContextKeys with it.
  owners_key = {
    StringEquals = {
      "kms:EncryptionContext:app" = var.app
    }
    "ForAllValues:StringEquals" = {
      "kms:EncryptionContextKeys" = ["app", "generation", "owner"]
    }
    Null = {
      "kms:EncryptionContext:generation" = "false"
      "kms:EncryptionContext:owner"      = "false"
    }
  }

  audit_key = {
    StringEquals = {
      "kms:EncryptionContext:app"     = var.app
      "kms:EncryptionContext:purpose" = "audit"
    }
    "ForAllValues:StringEquals" = {
      "kms:EncryptionContextKeys" = ["app", "purpose", "writer"]
    }
    Null = {
      "kms:EncryptionContext:writer" = "false"
    }
  }

  # In the order in which the README explains them.
  statements = [
    {
      present = true
      statement = {
        Sid       = "ApplicationUsesOwnersKeys"
        Effect    = "Allow"
        Principal = { AWS = sort(var.applications) }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = local.owners_key
      }
    },
    {
      present = true
      statement = {
        Sid       = "ApplicationMakesAuditKeys"
        Effect    = "Allow"
        Principal = { AWS = sort(var.applications) }
        Action    = ["kms:GenerateDataKey"]
        Resource  = "*"
        Condition = local.audit_key
      }
    },
    {
      present = length(var.auditors) > 0
      statement = {
        Sid       = "AuditorReadsAuditKeys"
        Effect    = "Allow"
        Principal = { AWS = sort(var.auditors) }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
        Condition = local.audit_key
      }
    },
    {
      present = length(var.migrators) > 0 && contains(var.migration, "within")
      statement = {
        Sid       = "MigratorRewrapsWithinThisKey"
        Effect    = "Allow"
        Principal = { AWS = sort(var.migrators) }
        Action    = ["kms:ReEncryptFrom", "kms:ReEncryptTo"]
        Resource  = "*"
        Condition = merge(local.owners_key, {
          Bool = { "kms:ReEncryptOnSameKey" = "true" }
        })
      }
    },
    {
      present = length(var.migrators) > 0 && contains(var.migration, "from")
      statement = {
        Sid       = "MigratorMovesFromThisKey"
        Effect    = "Allow"
        Principal = { AWS = sort(var.migrators) }
        Action    = ["kms:ReEncryptFrom"]
        Resource  = "*"
        Condition = local.owners_key
      }
    },
    {
      present = length(var.migrators) > 0 && contains(var.migration, "to")
      statement = {
        Sid       = "MigratorMovesToThisKey"
        Effect    = "Allow"
        Principal = { AWS = sort(var.migrators) }
        Action    = ["kms:ReEncryptTo"]
        Resource  = "*"
        Condition = local.owners_key
      }
    },
    {
      present = var.break_glass != null
      statement = {
        Sid       = "BreakGlassUnwrapsOwnersKeys"
        Effect    = "Allow"
        Principal = { AWS = var.break_glass[*] }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
        Condition = local.owners_key
      }
    },
    {
      present = true
      statement = {
        Sid       = "AdministratorsManage"
        Effect    = "Allow"
        Principal = { AWS = sort(var.administrators) }
        # One by one: `kms:Create*` would hold CreateGrant, `kms:*` everything.
        Action = [
          "kms:CancelKeyDeletion",
          "kms:CreateAlias",
          "kms:DeleteAlias",
          "kms:DescribeKey",
          "kms:DisableKey",
          "kms:DisableKeyRotation",
          "kms:EnableKey",
          "kms:EnableKeyRotation",
          "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus",
          "kms:ListGrants",
          "kms:ListKeyPolicies",
          "kms:ListKeyRotations",
          "kms:ListResourceTags",
          "kms:PutKeyPolicy",
          "kms:ReplicateKey",
          "kms:RevokeGrant",
          "kms:RotateKeyOnDemand",
          "kms:ScheduleKeyDeletion",
          "kms:TagResource",
          "kms:UntagResource",
          "kms:UpdateAlias",
          "kms:UpdateKeyDescription",
          "kms:UpdatePrimaryRegion",
        ]
        Resource = "*"
      }
    },
    {
      present = var.root_user_recovers
      statement = {
        Sid       = "RootUserRecovers"
        Effect    = "Allow"
        Principal = { AWS = ["arn:${var.partition}:iam::${var.account_id}:root"] }
        Action    = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"]
        Resource  = "*"
        # Without it, this principal is the whole account, and IAM policies would decide.
        Condition = {
          StringEquals = { "aws:PrincipalType" = "Account" }
        }
      }
    },
    {
      present = true
      statement = {
        Sid       = "NobodyChoosesADekOrGrants"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["kms:CreateGrant", "kms:Encrypt"]
        Resource  = "*"
      }
    },
  ]

  key_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for one in local.statements : one.statement if one.present]
  })

  # AWS keeps no mark of MFA in the sessions of a role, so that a key policy cannot ask for it. Who assumes the role is
  # asked.
  break_glass_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyWithMfaOfTheLastHour"
      Effect    = "Allow"
      Principal = { AWS = sort(var.break_glass_trusted) }
      Action    = ["sts:AssumeRole"]
      Condition = {
        Bool            = { "aws:MultiFactorAuthPresent" = "true" }
        NumericLessThan = { "aws:MultiFactorAuthAge" = "3600" }
      }
    }]
  })
}
