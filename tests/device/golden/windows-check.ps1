
function Say([string] $name, [string] $encoded) { [Console]::Out.Write("$nonce $name $encoded`n") }
function Tell([string] $name, [string] $text) {
  Say $name ([Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($text)))
}
function Read-Value { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($stdin.ReadLine())) }
function Get-Unix([DateTime] $time) { ([DateTimeOffset] $time).ToUnixTimeSeconds() }
function Get-Kind([string] $path) {
  try { $attributes = [IO.File]::GetAttributes($path) }
  catch {
    $base = $_.Exception.GetBaseException()
    if ($base -is [IO.FileNotFoundException] -or $base -is [IO.DirectoryNotFoundException]) { return 'absent' }
    return 'other'
  }
  if ($attributes -band [IO.FileAttributes]::ReparsePoint) { return 'symlink' }
  if ($attributes -band [IO.FileAttributes]::Directory) { return 'other' }
  'file'
}
function Get-Sha256([byte[]] $bytes) {
  # Not SHA256.Create: that one throws where Windows only allows what is certified for FIPS.
  $sha = New-Object Security.Cryptography.SHA256CryptoServiceProvider
  ([BitConverter]::ToString($sha.ComputeHash($bytes)) -replace '-', '').ToLowerInvariant()
}
function Get-FileSha256([string] $path) {
  $bytes = [IO.File]::ReadAllBytes($path)
  Get-Sha256 $bytes
}
function Test-Admin {
  $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
  $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Invoke-IoTEdge([string] $arguments, [int] $seconds) {
  # What it printed and how it ended; -1 where it could not be started or did not end in time.
  $result = @{ Code = -1; Text = '' }
  $program = Join-Path $env:ProgramFiles 'iotedge\iotedge.exe'
  if (-not [IO.File]::Exists($program)) {
    # sshd has the PATH of the day it was started, so the usual place comes first.
    $found = Get-Command -Name iotedge -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if (-not $found) { return $result }
    $program = $found.Path
  }
  try {
    $start = New-Object Diagnostics.ProcessStartInfo($program, $arguments)
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    # Its stdin is its own: ours holds parameters.
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = [Text.Encoding]::UTF8
    $process = [Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    $output = $process.StandardOutput.ReadToEndAsync()
    $null = $process.StandardError.ReadToEndAsync()
    if ($process.WaitForExit($seconds * 1000)) { $result.Code = $process.ExitCode } else { $process.Kill() }
    # A child that lives on would hold the pipe.
    if ($output.Wait(5000)) { $result.Text = $output.Result }
  } catch { }
  $result
}

$report = (Invoke-IoTEdge 'check --output json' 240).Text
if ($report.Length -gt 262144) { $report = $report.Substring(0, 262144) }
Tell 'check' $report
