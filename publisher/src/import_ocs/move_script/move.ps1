# Moves the OCS agent of this computer to another server. The agent keeps its DEVICEID and its history
# of deployed packages.
#
# Run the script as administrator, or deploy it as a package of the present server. The script then
# creates a task that moves the agent as soon as no download is running.
#
#   move.ps1               creates the task
#   move.ps1 -Now          moves the agent; the task does this
#   move.ps1 -Edit FILE    changes only this file; the setting before is kept beside it, for tests
param([switch]$Now, [string]$Edit)
$ErrorActionPreference = 'Stop'
$new = '@SERVER@'
# Certificate authorities for the new server. Empty: the setting stays as it is.
$ca = '@CA@'
$task = 'Move OCS agent'

# Returns the lines of an ini file with a value in the section [HTTP]. A value of $null removes the
# line, and a value without a line gets one.
function Set-HttpValue([string[]]$lines, [string]$name, $value) {
    $section = ''
    $end = -1
    $isSet = $null -eq $value
    $changed = New-Object 'System.Collections.Generic.List[string]'
    foreach ($line in $lines) {
        if ($line -match '^\s*\[\s*([^\]]*?)\s*\]') { $section = $Matches[1] }
        if ($section -eq 'HTTP' -and $line -match ('^\s*' + $name + '\s*=')) {
            # The agent reads the first line.
            if (-not $isSet) { $changed.Add("$name=$value"); $isSet = $true; $end = $changed.Count }
        }
        else {
            $changed.Add($line)
            if ($section -eq 'HTTP' -and $line.Trim()) { $end = $changed.Count }
        }
    }
    if (-not $isSet) {
        if ($end -lt 0) { $changed.Add('[HTTP]'); $end = $changed.Count }
        $changed.Insert($end, "$name=$value")
    }
    return , $changed.ToArray()
}

# Returns the value of a setting in the section [HTTP]; $null if there is none.
function Get-HttpValue([string[]]$lines, [string]$name) {
    $section = ''
    foreach ($line in $lines) {
        if ($line -match '^\s*\[\s*([^\]]*?)\s*\]') { $section = $Matches[1] }
        if ($section -eq 'HTTP' -and $line -match ('^\s*' + $name + '\s*=\s*(.*?)\s*$')) { return $Matches[1] }
    }
    return $null
}

# Changes the file of the agent. $before is the file with the settings before a move with certificate
# authorities, for the way back.
function Edit-Configuration([string]$file, [string]$before) {
    $bytes = [IO.File]::ReadAllBytes($file)
    $mark = 0
    # Each byte is a character of Latin 1, so text in other code pages stays as it is.
    $encoding = [Text.Encoding]::GetEncoding(28591)
    if ($bytes.Length -ge 2 -and $bytes[0] -eq 0xFF -and $bytes[1] -eq 0xFE) {
        $encoding = [Text.Encoding]::Unicode
        $mark = 2
    }
    $text = $encoding.GetString($bytes, $mark, $bytes.Length - $mark)
    $separator = "`r`n"
    if ($text.Contains("`n") -and -not $text.Contains("`r`n")) { $separator = "`n" }
    $lines = $text -split "`r?`n"

    $lines = Set-HttpValue $lines 'Server' $new
    if ($ca) {
        if (-not (Test-Path -LiteralPath $before)) {
            $kept = foreach ($name in 'SSL', 'CaBundle') {
                $value = Get-HttpValue $lines $name
                if ($null -ne $value) { "$name=$value" }
            }
            [IO.File]::WriteAllLines($before, [string[]](@('[HTTP]') + @($kept | Where-Object { $_ })), $encoding)
        }
        $lines = Set-HttpValue $lines 'SSL' '1'
        $lines = Set-HttpValue $lines 'CaBundle' $ca
    }
    elseif (Test-Path -LiteralPath $before) {
        $kept = [IO.File]::ReadAllLines($before, $encoding)
        foreach ($name in 'SSL', 'CaBundle') {
            $lines = Set-HttpValue $lines $name (Get-HttpValue $kept $name)
        }
    }

    $changed = $encoding.GetBytes($lines -join $separator)
    $next = "$file.next"
    $stream = [IO.File]::Create($next)
    try {
        $stream.Write($bytes, 0, $mark)
        $stream.Write($changed, 0, $changed.Length)
        $stream.Flush($true)
    }
    finally { $stream.Dispose() }
    # The file keeps its rights, and is the old or the new one at any time.
    [IO.File]::Replace($next, $file, [NullString]::Value)
    if (-not $ca -and (Test-Path -LiteralPath $before)) { Remove-Item -LiteralPath $before }
}

if ($Edit) {
    Edit-Configuration $Edit "$Edit.before-move"
    exit 0
}

$ini = Join-Path $env:ProgramData 'OCS Inventory NG\Agent\ocsinventory.ini'
if (-not (Test-Path -LiteralPath $ini)) { throw "cannot move the OCS agent: found no $ini" }

if (-not $Now) {
    # Users can write to ProgramData, and the task runs as SYSTEM. Only administrators can create a
    # folder in Program Files. The script contains the token of the fleet, so users must not read it.
    $folder = Join-Path $env:ProgramFiles 'Packcast OCS move'
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    & "$env:SystemRoot\System32\icacls.exe" $folder /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "cannot move the OCS agent: cannot protect $folder" }
    $copy = Join-Path $folder 'move.ps1'
    Copy-Item -LiteralPath $PSCommandPath -Destination $copy -Force
    $action = New-ScheduledTaskAction -Execute "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe" `
        -Argument "-NoProfile -ExecutionPolicy Bypass -File `"$copy`" -Now"
    $trigger = New-ScheduledTaskTrigger -Once -At (Get-Date).AddMinutes(1)
    # By default a task does not start on battery, and does not start later if the computer was off.
    $settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries `
        -StartWhenAvailable -ExecutionTimeLimit (New-TimeSpan -Hours 2)
    Register-ScheduledTask -TaskName $task -User 'SYSTEM' -RunLevel Highest -Force `
        -Action $action -Trigger $trigger -Settings $settings | Out-Null
    exit 0
}

try {
    # The service starts these programs.
    $tries = 0
    while (Get-Process -Name 'download', 'OCSInventory' -ErrorAction SilentlyContinue) {
        $tries++
        if ($tries -gt 720) { throw 'cannot move the OCS agent: it is still at work after an hour' }
        Start-Sleep -Seconds 5
    }
    # The service writes to the file while it runs.
    $service = Get-Service -Name 'OCS Inventory Service' -ErrorAction SilentlyContinue
    $runs = $service -and $service.Status -ne 'Stopped'
    if ($runs) { Stop-Service -InputObject $service -Force }
    try { Edit-Configuration $ini (Join-Path $PSScriptRoot 'before-move.ini') }
    finally { if ($runs) { Start-Service -InputObject $service } }
}
finally {
    Unregister-ScheduledTask -TaskName $task -Confirm:$false -ErrorAction SilentlyContinue
    # The script contains the token of the fleet.
    Remove-Item -LiteralPath $PSCommandPath -ErrorAction SilentlyContinue
}
